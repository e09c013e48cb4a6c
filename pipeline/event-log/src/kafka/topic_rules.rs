//! What a topic must be like, and what is worth a warning. Talks to nobody.

use super::config::{Acks, KafkaConfig};
use super::options::FRAMING_BYTES_MAX;

const HOUR_MS: i64 = 3_600_000;
/// Below that a weekend without the collector loses messages.
const RETENTION_HOURS_SHORT: i64 = 72;

/// What is asked of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    message_bytes_max: usize,
    min_insync_replicas: u16,
    retention_hours: u32,
    acks: Acks,
}

impl From<&KafkaConfig> for Rules {
    fn from(config: &KafkaConfig) -> Self {
        Self {
            message_bytes_max: config.message_bytes_max + FRAMING_BYTES_MAX,
            min_insync_replicas: config.min_insync_replicas,
            retention_hours: config.retention_hours,
            acks: config.producer.acks,
        }
    }
}

impl Rules {
    /// Configuration of a topic that is made.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            ("cleanup.policy", "delete".to_owned()),
            ("max.message.bytes", self.message_bytes_max.to_string()),
            ("retention.ms", (i64::from(self.retention_hours) * HOUR_MS).to_string()),
            // One clock for all, so that a lag in time does not depend on the producers'.
            ("message.timestamp.type", "LogAppendTime".to_owned()),
        ];
        if self.min_insync_replicas > 0 {
            entries.push(("min.insync.replicas", self.min_insync_replicas.to_string()));
        }
        entries
    }
}

/// What a topic is like; `None` where it could not be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    partitions: usize,
    copies_min: usize,
    cleanup_policy: Option<String>,
    timestamp_type: Option<String>,
    message_bytes_max: Option<usize>,
    min_insync_replicas: Option<usize>,
    retention_ms: Option<i64>,
    retention_bytes: Option<i64>,
}

impl Found {
    /// From the copies of each partition, and the values of the configuration.
    pub(super) fn new(copies: &[usize], value: impl Fn(&str) -> Option<String>) -> Self {
        Self {
            partitions: copies.len(),
            copies_min: copies.iter().copied().min().unwrap_or(0),
            cleanup_policy: value("cleanup.policy"),
            timestamp_type: value("message.timestamp.type"),
            message_bytes_max: value("max.message.bytes").and_then(|value| value.parse().ok()),
            min_insync_replicas: value("min.insync.replicas").and_then(|value| value.parse().ok()),
            retention_ms: value("retention.ms").and_then(|value| value.parse().ok()),
            retention_bytes: value("retention.bytes").and_then(|value| value.parse().ok()),
        }
    }
}

/// What came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// The topic can't be used.
    pub(super) refusals: Vec<String>,
    /// It can, but somebody should know.
    pub(super) warnings: Vec<String>,
}

/// All at once.
pub(super) fn check(rules: &Rules, found: &Found) -> Report {
    let mut report = Report::default();
    if found.partitions == 0 {
        report.refusals.push("has no partition".to_owned());
    }
    if let Some(policy) = found.cleanup_policy.as_deref().filter(|policy| policy.contains("compact")) {
        let reason =
            format!("cleanup.policy is {policy}: compaction deletes messages, as none has a key; set delete");
        report.refusals.push(reason);
    }
    if let Some(bytes) = found.message_bytes_max.filter(|bytes| *bytes < rules.message_bytes_max) {
        let ours = rules.message_bytes_max;
        let reason = format!("max.message.bytes is {bytes}, and must be {ours} for our message_bytes_max");
        report.refusals.push(reason);
    }
    check_copies(rules, found, &mut report);
    check_retention(found, &mut report.warnings);
    if found.timestamp_type.as_deref() == Some("CreateTime") {
        let warning = "message.timestamp.type is CreateTime: lag in time depends on the clocks of producers";
        report.warnings.push(warning.to_owned());
    }
    report
}

fn check_copies(rules: &Rules, found: &Found, report: &mut Report) {
    let (copies, Some(needed)) = (found.copies_min, found.min_insync_replicas) else { return };
    if rules.acks != Acks::All || copies == 0 {
        return;
    }
    if needed > copies {
        let reason =
            format!("min.insync.replicas is {needed} with {copies} copies: no message would be taken");
        report.refusals.push(reason);
    } else if copies == 1 {
        let warning = "has one copy of each partition: what is acknowledged is lost with its broker's disk";
        report.warnings.push(warning.to_owned());
    } else if needed == 1 {
        let warning =
            "min.insync.replicas is 1: one broker may acknowledge alone, and take messages along when lost";
        report.warnings.push(warning.to_owned());
    } else if needed == copies {
        let warning =
            "min.insync.replicas is the number of copies: no message is taken while a broker restarts";
        report.warnings.push(warning.to_owned());
    }
}

fn check_retention(found: &Found, warnings: &mut Vec<String>) {
    let endless = found.retention_ms.is_some_and(|ms| ms < 0);
    let unbounded = found.retention_bytes.is_some_and(|bytes| bytes < 0);
    if endless && unbounded {
        warnings.push("keeps messages for ever: its disks will be full one day".to_owned());
    }
    if let Some(ms) = found.retention_ms.filter(|ms| (0..RETENTION_HOURS_SHORT * HOUR_MS).contains(ms)) {
        let minutes = ms / 60_000;
        warnings.push(format!(
            "keeps messages for {minutes} minutes: a longer pause of the collector loses some"
        ));
    }
    if let Some(bytes) = found.retention_bytes.filter(|bytes| *bytes >= 0) {
        let warning = format!(
            "keeps {bytes} bytes a partition: when there are more, some are lost before they are collected"
        );
        warnings.push(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::from(&KafkaConfig { min_insync_replicas: 2, ..KafkaConfig::default() })
    }

    /// The topic that `rules` would make, with changes.
    fn found(copies: usize, changes: &[(&str, &str)]) -> Found {
        let entries = rules().entries();
        Found::new(&[copies; 12], |name| {
            let changed =
                changes.iter().find(|(changed, _)| *changed == name).map(|(_, value)| (*value).to_owned());
            changed.or_else(|| entries.iter().find(|(made, _)| *made == name).map(|(_, value)| value.clone()))
        })
    }

    #[test]
    fn a_topic_we_make_is_fine() {
        assert_eq!(check(&rules(), &found(3, &[])), Report::default());
    }

    #[test]
    fn what_would_lose_or_refuse_messages_is_refused() {
        for (copies, changes, word) in [
            (3, &[("cleanup.policy", "compact,delete")][..], "compaction"),
            (3, &[("max.message.bytes", "1000000")], "1001024"),
            (1, &[], "no message would be taken"),
        ] {
            let report = check(&rules(), &found(copies, changes));
            assert!(report.refusals.iter().any(|reason| reason.contains(word)), "{word}: {report:?}");
        }
        assert_eq!(check(&rules(), &Found::new(&[], |_| None)).refusals, ["has no partition"]);
    }

    #[test]
    fn what_may_lose_messages_is_said() {
        for (copies, changes, word) in [
            (1, &[("min.insync.replicas", "1")][..], "one copy"),
            (3, &[("min.insync.replicas", "1")], "alone"),
            (2, &[], "restarts"),
            (3, &[("retention.ms", "-1"), ("retention.bytes", "-1")], "for ever"),
            (3, &[("retention.ms", "3600000")], "60 minutes"),
            (3, &[("retention.bytes", "1048576")], "1048576 bytes"),
            (3, &[("message.timestamp.type", "CreateTime")], "clocks"),
        ] {
            let report = check(&rules(), &found(copies, changes));
            assert_eq!(report.refusals, Vec::<String>::new());
            assert!(report.warnings.iter().any(|warning| warning.contains(word)), "{word}: {report:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_is_no_mistake() {
        assert_eq!(check(&rules(), &Found::new(&[1; 3], |_| None)), Report::default());
    }
}
