//! The protocol as a table of switches, and the world it is tried in. The correct protocol and every broken one are the
//! same code: a broken one has one switch the other way.

/// Bounds of the arrays that a state is made of; what a check uses of them is in [`World`].
pub(crate) const MEMBERS: usize = 2;
pub(crate) const MESSAGES_MAX: usize = 3;
pub(crate) const WINDOW_MAX: usize = 5;
pub(crate) const LOST_MAX: usize = 2;

/// Tables, in the order in which the protocol inserts.
pub(crate) const REQUESTS: u8 = 0;
pub(crate) const OTHERS: u8 = 1;
pub(crate) const LEDGER: u8 = 2;
pub(crate) const TABLES: usize = 3;

/// What the protocol has to cope with: bounded, so that all of it can be tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct World {
    /// Messages of the partition.
    pub(crate) messages: u8,
    /// Ranges that are stored meanwhile from another partition, of one message each, without a fault: what pushes
    /// tokens out of the windows.
    pub(crate) neighbours: u8,
    /// Messages of a range, at most; how many it is, the collector may choose.
    pub(crate) range_max: u8,
    /// Inserts that are under way at once with nobody waiting for the answer.
    pub(crate) lost_max: usize,
    /// An insert arrives before more than so many other ranges are complete since it was allowed: what the time limit
    /// of inserts comes to, counted in ranges. `None`: there is no limit.
    pub(crate) late_max: Option<u8>,
    /// Tokens that a table remembers.
    pub(crate) window: usize,
    /// Nothing is tried again once more than so many other ranges are complete since the intent: half of the window.
    pub(crate) guard: u8,
}

/// What the protocol does, in `CORRECT` and otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The end of a range is committed before it is stored.
    pub(crate) end_first: bool,
    /// The intent is committed before the range is stored.
    pub(crate) intent: bool,
    /// The intent names the policy.
    pub(crate) intent_names_policy: bool,
    /// A token names the attempt, not only the range.
    pub(crate) token_of_attempt: bool,
    pub(crate) order: [u8; TABLES],
    /// The group takes commits of its present generation only.
    pub(crate) fenced: bool,
    /// A collector that joins again forgets what it held.
    pub(crate) forgets: bool,
    /// Each attempt begins by committing the intent once more: whoever has lost the partition is refused.
    pub(crate) proves: bool,
    /// What may be outside the window is not tried again.
    pub(crate) guarded: bool,
    /// An unanswered commit can't arrive any more once the next one is sent.
    pub(crate) commits_in_order: bool,
    /// ClickHouse writes token and rows down at once.
    pub(crate) atomic_insert: bool,
}

pub(crate) const CORRECT: Rules = Rules {
    end_first: false,
    intent: true,
    intent_names_policy: true,
    token_of_attempt: false,
    order: [REQUESTS, OTHERS, LEDGER],
    fenced: true,
    forgets: true,
    proves: true,
    guarded: true,
    commits_in_order: true,
    atomic_insert: true,
};

/// A protocol in a world: what is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    pub(crate) rules: Rules,
    pub(crate) world: World,
}

impl Protocol {
    pub(crate) fn is_correct(&self) -> bool {
        self.rules == CORRECT
    }
}
