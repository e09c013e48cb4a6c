//! A ClickHouse table as the protocol sees it: a block is stored whole or not at all, and dropped if its token is among
//! the newest ones. Rows are not modelled, only which messages a table has, how often, and under which policy.

use crate::protocol::{MESSAGES_MAX, WINDOW_MAX};

/// A contiguous run of messages, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) first: u8,
    pub(crate) last: u8,
}

/// What an insert says of itself for deduplication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    pub(crate) span: Span,
    /// Always 0, but for the variant whose tokens name the attempt.
    pub(crate) attempt: u8,
}

/// One table's part of a range. Its content is a function of span and policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Block {
    pub(crate) token: Token,
    pub(crate) policy: u8,
}

/// What a table has of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Copies {
    None,
    One(Block),
    More,
}

/// A place in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    Nothing,
    /// A block of the partition that is modelled.
    Ours(Token),
    /// A block of any other: it is never repeated, so its name doesn't matter, only its place.
    Neighbour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    pub(crate) messages: [Copies; MESSAGES_MAX],
    /// Newest first.
    seen: [Seen; WINDOW_MAX],
}

impl Table {
    pub(crate) const EMPTY: Self =
        Self { messages: [Copies::None; MESSAGES_MAX], seen: [Seen::Nothing; WINDOW_MAX] };

    /// `true` if the block was stored, `false` if it was taken for a repetition. A repetition makes its token no younger.
    pub(crate) fn insert(&mut self, block: Block, window: usize) -> bool {
        if self.seen.contains(&Seen::Ours(block.token)) {
            return false;
        }
        self.note(Seen::Ours(block.token), window);
        let Span { first, last } = block.token.span;
        for copies in &mut self.messages[usize::from(first)..=usize::from(last)] {
            *copies = if *copies == Copies::None { Copies::One(block) } else { Copies::More };
        }
        true
    }

    /// A token without its rows: what a server leaves behind that is killed between the two.
    pub(crate) fn note(&mut self, seen: Seen, window: usize) {
        self.seen[..window].rotate_right(1);
        self.seen[0] = seen;
    }

    pub(crate) fn copies(&self, message: u8) -> Copies {
        self.messages[usize::from(message)]
    }

    /// Whether there is a row of exactly that range: the question that a replay asks the ledger.
    pub(crate) fn has(&self, span: Span) -> bool {
        matches!(self.copies(span.first), Copies::One(block) if block.token.span == span)
    }

    /// Whether there is any row at or behind an offset: the question that a new range asks the ledger.
    pub(crate) fn reaches(&self, message: u8) -> bool {
        self.messages[usize::from(message)..].iter().any(|copies| *copies != Copies::None)
    }

    /// How many messages are stored, each counted once.
    pub(crate) fn stored(&self) -> usize {
        self.messages.iter().filter(|copies| **copies != Copies::None).count()
    }
}
