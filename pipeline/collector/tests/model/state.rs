//! What the world is at one moment: the memory of the group, of the collectors and of ClickHouse, and the requests that
//! nobody waits for any more.

use crate::clickhouse::{Block, Copies, Span, Table, Token};
use crate::protocol::{LOST_MAX, MEMBERS, MESSAGES_MAX, Protocol, TABLES};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) group: Position,
    pub(crate) members: [Member; MEMBERS],
    pub(crate) tables: [Table; TABLES],
    /// Inserts whose sender is dead, or has given up waiting: they arrive at any time, or never. Sorted.
    pub(crate) lost: [Option<Insert>; LOST_MAX],
    /// A commit that was sent again since its answer did not come, and that may still arrive.
    pub(crate) late_commit: Option<LateCommit>,
    /// Blocks of the other partition so far: a table after the other, a range after the other.
    pub(crate) neighbours: u8,
    /// Attempts so far; 0 unless tokens name them.
    pub(crate) attempts: u8,
}

/// What the group knows of the partition. A commit's metadata is the intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) owner: Option<u8>,
    pub(crate) offset: u8,
    pub(crate) intent: Option<Intent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    pub(crate) last: u8,
    pub(crate) policy: u8,
    /// Other ranges that were completed since it was written: the time that has passed, counted in what it endangers.
    pub(crate) age: u8,
}

/// A collector. Its sampling policy's version is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) up: bool,
    /// Of the group's present generation. One that is up and isn't is a zombie, and doesn't know.
    pub(crate) current: bool,
    pub(crate) hold: Hold,
}

/// What a collector thinks of the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    /// Not its own.
    None,
    /// Its own; the position has not been read yet.
    Assigned,
    Held(Held),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) next: u8,
    /// The group is about to take it; no new range is begun.
    pub(crate) revoking: bool,
    pub(crate) task: Option<Task>,
}

/// An open range, from `Held::next` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Task {
    pub(crate) intent: Intent,
    /// Found in a position, or tried before: it may be stored already.
    pub(crate) again: bool,
    pub(crate) attempt: u8,
    /// Other ranges that were completed since the attempt was allowed.
    pub(crate) age: u8,
    pub(crate) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Before an attempt: the ledger and the window are looked at.
    Check,
    /// An insert is under way; which one, as a place in the order of tables.
    Insert(u8),
    /// Stored; the end is to be committed.
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Insert {
    pub(crate) table: u8,
    pub(crate) block: Block,
    pub(crate) age: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LateCommit {
    pub(crate) member: u8,
    pub(crate) offset: u8,
}

impl State {
    pub(crate) fn is_owner(&self, member: usize) -> bool {
        self.group.owner == Some(number(member))
    }

    /// What all tables have from one policy, they have: which one it was can't matter any more. Fewer states to look at.
    pub(crate) fn forget_settled(&mut self) {
        for message in 0..MESSAGES_MAX {
            let [one, two, three] = self.tables.map(|table| table.messages[message]);
            if one == two && two == three {
                for table in &mut self.tables {
                    if let Copies::One(block) = &mut table.messages[message] {
                        block.policy = 0;
                    }
                }
            }
        }
    }
}

impl Task {
    pub(crate) fn span(&self, first: u8) -> Span {
        Span { first, last: self.intent.last }
    }

    pub(crate) fn begin_again(&mut self) {
        (self.step, self.again, self.age) = (Step::Check, true, 0);
    }

    pub(crate) fn block(&self, first: u8) -> Block {
        Block { token: Token { span: self.span(first), attempt: self.attempt }, policy: self.intent.policy }
    }
}

impl Protocol {
    /// Both collectors have joined; the first has the partition.
    pub(crate) fn start(&self) -> State {
        let member = |hold| Member { up: true, current: true, hold };
        State {
            group: Position { owner: Some(0), offset: 0, intent: None },
            members: [member(Hold::Assigned), member(Hold::None)],
            tables: [Table::EMPTY; TABLES],
            lost: [None; LOST_MAX],
            late_commit: None,
            neighbours: 0,
            attempts: 0,
        }
    }
}

/// The number of a member as states keep it.
pub(crate) fn number(member: usize) -> u8 {
    u8::try_from(member).unwrap()
}
