//! What the group tells a member. The callback of librdkafka only notes it: partitions are taken and given later, when
//! positions are known and what is open is finished. Decides nothing, except while leaving.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Statistics};

use super::client::{Failure, Reports};

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// These are ours as soon as we take them. May be none.
    Assign(Vec<u32>),
    /// These are to be given away.
    Revoke(Vec<u32>),
    /// We are no longer who we were in the group: nothing is ours.
    Lost,
}

/// What librdkafka waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// That partitions are taken.
    Assign,
    /// That these are given away.
    Revoke(Vec<u32>),
}

/// The context of a member's client.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) reports: Reports,
    state: Mutex<State>,
    leaving: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    notes: VecDeque<Note>,
    asked: Option<Asked>,
    failures: VecDeque<Failure>,
}

/// Failures that wait to be looked at; more say nothing new.
const FAILURES_MAX: usize = 16;

impl Member {
    pub(super) fn new(reports: Reports) -> Self {
        Self { reports, state: Mutex::default(), leaving: AtomicBool::new(false) }
    }

    /// The next note.
    pub(super) fn take_note(&self) -> Option<Note> {
        self.state().notes.pop_front()
    }

    /// Puts a note back that could not be done yet.
    pub(super) fn put_back(&self, note: Note) {
        self.state().notes.push_front(note);
    }

    /// Whether there is something to do. Notes are done one after the other, but for the one that all is lost.
    pub(super) fn has_news(&self, takes_notes: bool) -> bool {
        let state = self.state();
        let note = if takes_notes { !state.notes.is_empty() } else { state.notes.contains(&Note::Lost) };
        note || !state.failures.is_empty()
    }

    /// Whether membership is over.
    pub(super) fn is_lost(&self) -> bool {
        self.state().notes.contains(&Note::Lost)
    }

    /// The next failure of the client as a whole.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.state().failures.pop_front()
    }

    /// What librdkafka waits for; it is the caller's to do.
    pub(super) fn take_asked(&self) -> Option<Asked> {
        self.state().asked.take()
    }

    /// What was asked could not be done.
    pub(super) fn ask_again(&self, asked: Option<Asked>) {
        let mut state = self.state();
        state.asked = state.asked.take().or(asked);
    }

    /// From here on whatever the group wants is done at once: nothing is read any more.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Guards plain values only, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: Note, asked: Option<Asked>) {
        let mut state = self.state();
        if asked.is_some() {
            state.asked = asked;
        }
        state.notes.push_back(note);
    }
}

impl ClientContext for Member {
    /// When a session ends while a rebalance waits for us, librdkafka tells nobody, joins as another and may claim what
    /// has an owner by now. But it logs the change of its member id, so that is where we learn of it.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if facility == "MEMBERID" && ends_membership(message) {
            self.note(Note::Lost, None);
        }
        self.reports.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.reports.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        let mut state = self.state();
        if state.failures.len() < FAILURES_MAX {
            state.failures.push_back(Failure { code, reason: reason.to_owned() });
        }
        drop(state);
        self.reports.error(error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, client: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assign = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.leaving.load(Ordering::Acquire) {
            let done = if assign {
                client.incremental_assign(&TopicPartitionList::new())
            } else {
                client.incremental_unassign(list)
            };
            if let Err(error) = done {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a rebalance while leaving the group"
                );
            }
            return;
        }
        let partitions: Vec<u32> =
            list.elements().iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect();
        if assign {
            self.note(Note::Assign(partitions), Some(Asked::Assign));
        } else if client.assignment_lost() {
            self.note(Note::Lost, Some(Asked::Revoke(partitions)));
        } else {
            self.note(Note::Revoke(partitions.clone()), Some(Asked::Revoke(partitions)));
        }
    }
}

/// Whether a log line of librdkafka says that a member id, once given, is over:
/// `… updating member id "OLD" -> "NEW"`.
fn ends_membership(message: &str) -> bool {
    let mut parts = message.rsplit('"').skip(1);
    let (new, arrow, old) = (parts.next(), parts.next(), parts.next());
    arrow == Some(" -> ") && new != old && !matches!(old, None | Some("" | "(not-set)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_id_that_was_given_can_end() {
        let line = |old: &str, new: &str| {
            format!("[thrd:main]: Group \"a \"b\" -> \"c\"\": updating member id \"{old}\" -> \"{new}\"")
        };
        assert!(ends_membership(&line("rdkafka-1", "")));
        assert!(ends_membership(&line("rdkafka-1", "(not-set)")));
        assert!(ends_membership(&line("rdkafka-1", "rdkafka-2")));
        assert!(!ends_membership(&line("", "rdkafka-1")));
        assert!(!ends_membership(&line("(not-set)", "rdkafka-1")));
        assert!(!ends_membership("something else"));
    }
}
