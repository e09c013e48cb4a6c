//! What a hop waited for: at most eight stages, as one text. `redis.get@12+340 postgresql.find@360+2100!` is a look-up in
//! Redis, 12 µs after the request's head was read, that took 340 µs, and one in PostgreSQL, which failed.
//!
//! Noting a stage is cheap and never allocates; the text is for the publisher. Spans are not made here.

use std::fmt::Write as _;

use crate::value::Text;

/// Stages that are told apart. A redirect has up to four; what asks more often asks for the same again and again.
pub const STAGES_MAX: usize = 8;

/// Longest text, in bytes: eight stages, each as long as can be.
pub const TEXT_BYTES_MAX: usize = 512;

/// Longest operation, in bytes: eight of them fit the text. A test computes it.
const OPERATION_BYTES_MAX: usize = 24;

/// Longest name that is read, in bytes: more than any that is written now.
const NAME_BYTES_MAX: usize = 64;

/// What a hop waits for, by the name that OpenTelemetry's `db.system.name` has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The state that instances share.
    Redis,
    /// The link store, as a server.
    Postgresql,
    /// The link store, as a file.
    Sqlite,
}

impl System {
    /// The first part of a stage's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Postgresql => "postgresql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// A stage as it is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// What was waited for.
    pub system: System,
    /// What it was asked, in snake case and at most 24 bytes; anything else is written as `other`.
    pub operation: &'static str,
    /// When it began, in µs since the request's head was read.
    pub start_us: u32,
    /// How long it took, in µs.
    pub duration_us: u32,
    /// Whether it failed.
    pub failed: bool,
}

/// The stages of a hop, in the order of their begin.
#[derive(Debug, Clone, Default)]
pub struct Stages {
    stages: [Option<Noted>; STAGES_MAX],
}

impl Stages {
    /// Adds a stage. When there are eight already, one that failed takes the place of the last that did not; any other is
    /// left out.
    pub fn push(&mut self, stage: Noted) {
        let free = self.stages.iter().position(Option::is_none);
        let good = || self.stages.iter().rposition(|kept| kept.is_some_and(|kept| !kept.failed));
        if let Some(at) = free.or_else(|| good().filter(|_| stage.failed)) {
            self.stages[at] = Some(stage);
            // Stages that overlap end in another order than they began in. What is free stays behind.
            self.stages.sort_by_key(|kept| kept.map_or(u64::MAX, |kept| kept.start_us.into()));
        }
    }

    /// The text of the event's field.
    #[must_use]
    pub fn text(&self) -> Text<'static, TEXT_BYTES_MAX> {
        let mut text = String::new();
        for stage in self.stages.iter().flatten() {
            let separator = if text.is_empty() { "" } else { " " };
            let (system, operation) = (stage.system.as_str(), operation(stage.operation));
            let (start, duration, failed) =
                (stage.start_us, stage.duration_us, if stage.failed { "!" } else { "" });
            // Writing to a string can't fail.
            let _ = write!(text, "{separator}{system}.{operation}@{start}+{duration}{failed}");
        }
        Text::new(text)
    }
}

/// A stage as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage<'a> {
    /// Small letters, digits, underscores and points: `redis.get`.
    pub name: &'a str,
    /// See [`Noted::start_us`].
    pub start_us: u32,
    /// See [`Noted::duration_us`].
    pub duration_us: u32,
    /// See [`Noted::failed`].
    pub failed: bool,
}

impl<'a> Stage<'a> {
    /// What was waited for: see [`System::as_str`], or what a later version knows.
    #[must_use]
    pub fn system(&self) -> &'a str {
        self.name.split('.').next().unwrap_or_default()
    }

    fn parse(text: &'a str) -> Option<Self> {
        let (name, times) = text.split_once('@')?;
        let (start, duration) = times.split_once('+')?;
        let (duration, failed) = duration.strip_suffix('!').map_or((duration, false), |it| (it, true));
        let is_name = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.');
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name);
        let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse());
        let (start_us, duration_us) = (number(start)?.ok()?, number(duration)?.ok()?);
        fits.then_some(Self { name, start_us, duration_us, failed })
    }
}

/// Reads the event's field: at most eight stages. What can't be read is passed over.
pub fn parse(text: &str) -> impl Iterator<Item = Stage<'_>> {
    text.split(' ').filter_map(Stage::parse).take(STAGES_MAX)
}

fn operation(name: &'static str) -> &'static str {
    let is_snake = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    let fits = (1..=OPERATION_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_snake);
    if fits { name } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn noted(system: System, operation: &'static str, start_us: u32, failed: bool) -> Noted {
        Noted { system, operation, start_us, duration_us: 7, failed }
    }

    fn text(stages: impl IntoIterator<Item = Noted>) -> String {
        let mut all = Stages::default();
        stages.into_iter().for_each(|stage| all.push(stage));
        all.text().as_str().to_owned()
    }

    #[test]
    fn stages_are_written_in_the_order_of_their_begin_and_read_again() {
        let written = text([
            noted(System::Postgresql, "find", 360, true),
            noted(System::Redis, "get", 12, false),
            noted(System::Sqlite, "Find; DROP", 360, false),
        ]);
        assert_eq!(written, "redis.get@12+7 postgresql.find@360+7! sqlite.other@360+7");
        let read: Vec<_> = parse(&written).collect();
        assert_eq!(read[1], Stage { name: "postgresql.find", start_us: 360, duration_us: 7, failed: true });
        assert_eq!(read.iter().map(Stage::system).collect::<Vec<_>>(), ["redis", "postgresql", "sqlite"]);
        assert_eq!((text([]), parse("").count()), (String::new(), 0));
    }

    #[test]
    fn of_too_many_the_first_and_those_that_failed_stay() {
        let many = |failed: fn(u32) -> bool| {
            text((0..20).map(|at| noted(System::Redis, "get", at, failed(at))))
                .replace("redis.get", "")
                .replace("+7", "")
        };
        assert_eq!(many(|_| false), "@0 @1 @2 @3 @4 @5 @6 @7");
        assert_eq!(many(|at| at == 15), "@0 @1 @2 @3 @4 @5 @6 @15!");
        assert_eq!(many(|at| at > 4), "@5! @6! @7! @8! @9! @10! @11! @12!");
    }

    #[test]
    fn the_longest_text_fits() {
        let longest = "abcdefghijklmnopqrstuvwx";
        assert_eq!(longest.len(), OPERATION_BYTES_MAX);
        let stage = Noted {
            system: System::Postgresql,
            operation: longest,
            start_us: u32::MAX,
            duration_us: u32::MAX,
            failed: true,
        };
        let written = text([stage; STAGES_MAX]);
        assert!(written.len() <= TEXT_BYTES_MAX, "{}", written.len());
        assert_eq!(parse(&written).filter(|stage| stage.name.ends_with(longest)).count(), STAGES_MAX);
    }

    #[test]
    fn what_can_t_be_read_is_passed_over() {
        for unread in ["", "a", "a@1", "a@1+", "a@+1", "@1+1", "A@1+1", "a b@1+1!!", "a@-1+1", "a@1+1.5"] {
            assert!(parse(unread).all(|stage| stage.name == "b"), "{unread}");
        }
        let mixed = format!("{}@1+1 x@1+99999999999 later.thing@1+2 redis.get@3+4!", "x".repeat(65));
        let names: Vec<_> = parse(&mixed).map(|stage| stage.name).collect();
        assert_eq!(names, ["later.thing", "redis.get"]);
        assert_eq!(parse(&"a@1+1 ".repeat(100)).count(), STAGES_MAX);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}|[a-z.@+! 0-9]{0,80}") {
            prop_assert!(parse(&text).count() <= STAGES_MAX);
        }
    }
}
