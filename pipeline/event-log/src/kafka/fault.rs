//! What errors of librdkafka mean to a consumer: retry, stop and page, or give way. Decides nothing about producers.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use thiserror::Error;

use super::client::{Failure, is_passing};
use crate::{BoxError, ConsumeError};

/// Something that isn't as it must be, in words for a person.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Wrong(pub(super) String);

impl Wrong {
    pub(super) fn broken(text: impl Into<String>) -> ConsumeError {
        ConsumeError::Broken(Box::new(Self(text.into())))
    }

    pub(super) fn unavailable(text: impl Into<String>) -> ConsumeError {
        ConsumeError::Unavailable(Box::new(Self(text.into())))
    }
}

/// An error of a question that was put to the brokers.
pub(super) fn asking(error: KafkaError) -> ConsumeError {
    let code = error.rdkafka_error_code();
    let broken = code.is_none_or(|code| is_lasting(code) || is_refusal(code));
    let source: BoxError = Box::new(error);
    if broken { ConsumeError::Broken(source) } else { ConsumeError::Unavailable(source) }
}

/// An error in a partition's queue. librdkafka goes on behind some that stand for messages it could not read, so what
/// is not known to pass is taken to be such a one.
pub(super) fn in_partition(partition: u32, next: u64, code: Code, reason: &str) -> Option<ConsumeError> {
    if code == Code::PartitionEOF || is_passing(code) || is_moving(code) {
        return None;
    }
    let at = format!("partition {partition} can't be read on from offset {next}: {code}: {reason}");
    Some(Wrong::broken(at))
}

/// An error of the client as a whole that nothing but a person mends.
pub(super) fn of_client(failure: &Failure) -> Option<ConsumeError> {
    is_lasting(failure.code).then(|| ConsumeError::Broken(Box::new(failure.clone())))
}

/// Who we say we are is not believed. Of a running client `Outage` judges: a broker that starts may refuse for a moment.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
    )
}

/// Leaders and topics on their way; librdkafka asks again.
fn is_moving(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PollExceeded
            | Code::FetchSessionIdNotFound
            | Code::InvalidFetchSessionEpoch
    )
}

/// Stays until somebody changes a right, a setting or the log.
fn is_lasting(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::InconsistentGroupProtocol
            | Code::GroupMaxSizeReached
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::SecurityDisabled
            | Code::InvalidArgument
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stand_for_messages_that_were_passed_over_stops() {
        for code in [
            Code::BadMessage,
            Code::BadCompression,
            Code::AutoOffsetReset,
            Code::LogTruncation,
            Code::Unknown,
        ] {
            let error = in_partition(3, 17, code, "why").unwrap();
            let ConsumeError::Broken(source) = error else { panic!("{error:?}") };
            assert!(source.to_string().contains("partition 3 can't be read on from offset 17"), "{source}");
        }
        for code in [Code::PartitionEOF, Code::BrokerTransportFailure, Code::UnknownTopicOrPartition] {
            assert!(in_partition(0, 0, code, "").is_none(), "{code}");
        }
    }

    #[test]
    fn questions_are_repeated_unless_a_person_is_needed() {
        let error = |code| asking(KafkaError::MetadataFetch(code));
        assert!(matches!(error(Code::GroupAuthorizationFailed), ConsumeError::Broken(_)));
        assert!(matches!(error(Code::UnknownTopicOrPartition), ConsumeError::Unavailable(_)));
        assert!(matches!(error(Code::OperationTimedOut), ConsumeError::Unavailable(_)));
        assert!(matches!(asking(KafkaError::Subscription("x".to_owned())), ConsumeError::Broken(_)));
    }
}
