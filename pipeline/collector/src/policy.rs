//! The sampling policy: a TOML file, checked as a whole when it is read, named by the hash of its text. Which event is
//! kept is decided in [`crate::sample`].

use serde::Deserialize;

use crate::CollectorError;

/// The built-in policy.
const DEFAULT: &str = include_str!("policy.toml");

/// A sampling policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    version: String,
    text: String,
    pub(crate) rules: Rules,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    #[serde(default)]
    slow: Vec<Slow>,
    pub(crate) client_errors: ClientErrors,
    pub(crate) successes: Successes,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slow {
    route: String,
    duration_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientErrors {
    pub(crate) keep_max: u64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Successes {
    pub(crate) rate: f64,
    pub(crate) rare_keep: f64,
}

impl Policy {
    /// Reads and checks a policy.
    ///
    /// # Errors
    /// [`CollectorError::Policy`] with all that is wrong.
    pub fn parse(text: &str) -> Result<Self, CollectorError> {
        let rules: Rules = toml::from_str(text)
            .map_err(|error| CollectorError::Policy(vec![error.to_string().trim_end().to_owned()]))?;
        let wrong = rules.check();
        if !wrong.is_empty() {
            return Err(CollectorError::Policy(wrong));
        }
        // 64 bits tell all policies apart that anybody writes, and are short enough for the intent.
        let version = blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        Ok(Self { version, text: text.to_owned(), rules })
    }

    /// Reads the policy from the file, or takes the built-in one.
    ///
    /// # Errors
    /// [`CollectorError::PolicyFile`] and [`CollectorError::Policy`].
    pub fn load(file: Option<&std::path::Path>) -> Result<Self, CollectorError> {
        match file {
            None => Self::parse(DEFAULT),
            Some(file) => Self::parse(&std::fs::read_to_string(file).map_err(CollectorError::PolicyFile)?),
        }
    }

    /// Names the text.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Rules {
    /// From how many microseconds on an answer of the route counts as slow.
    pub(crate) fn slow_us(&self, route: &str) -> u64 {
        let rule = self.slow.iter().find(|slow| slow.route == "*" || slow.route == route);
        rule.map_or(u64::MAX, |slow| slow.duration_ms.saturating_mul(1000))
    }

    fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (index, slow) in self.slow.iter().enumerate() {
            if slow.route.is_empty() {
                wrong.push(format!("slow[{index}].route must name a route, or * for any"));
            }
            if slow.duration_ms == 0 {
                wrong.push(format!("slow[{index}].duration_ms must be at least 1"));
            }
            let hidden =
                self.slow[..index].iter().any(|earlier| earlier.route == "*" || earlier.route == slow.route);
            if hidden {
                wrong.push(format!("slow[{index}] is never reached: an earlier rule fits its route"));
            }
        }
        if !(1..=1_000_000).contains(&self.client_errors.keep_max) {
            wrong.push("client_errors.keep_max must be 1 to 1000000".to_owned());
        }
        let Successes { rate, rare_keep } = self.successes;
        // A rate of 0 would keep nothing, and no weight could stand for what is not there.
        if !(0.000_001..=1.0).contains(&rate) {
            wrong.push("successes.rate must be 0.000001 to 1".to_owned());
        }
        if !(0.0..=1_000_000.0).contains(&rare_keep) {
            wrong.push("successes.rare_keep must be 0 to 1000000".to_owned());
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_is_right() {
        let policy = Policy::load(None).unwrap();
        assert_eq!(policy.version().len(), 16);
        // Emitters point to traces of what is slow by the same numbers.
        let slow = policy.rules.slow.iter().map(|slow| (slow.route.as_str(), slow.duration_ms * 1_000));
        assert_eq!(slow.collect::<Vec<_>>(), wide_event::latency::SLOW_US);
        for route in ["/{code}", "/{*code}", "/rest/v3/visits"] {
            assert_eq!(policy.rules.slow_us(route), wide_event::latency::slow_us(route));
        }
        assert_eq!(Policy::parse(policy.text()).unwrap(), policy);
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let text = "slow = [{route = '/a', duration_ms = 5}, {route = '*', duration_ms = 7}]\n\
                    client_errors = {keep_max = 1}\nsuccesses = {rate = 1.0, rare_keep = 0.0}";
        let policy = Policy::parse(text).unwrap();
        assert_eq!((policy.rules.slow_us("/a"), policy.rules.slow_us("/b")), (5000, 7000));
    }

    #[test]
    fn a_bad_policy_is_refused_with_all_its_errors() {
        let text = "slow = [{route = '*', duration_ms = 0}, {route = '', duration_ms = 7}]\n\
                    client_errors = {keep_max = 0}\nsuccesses = {rate = 0.0, rare_keep = -1.0}";
        let Err(CollectorError::Policy(wrong)) = Policy::parse(text) else { panic!("accepted") };
        assert_eq!(wrong.len(), 6, "{wrong:?}");
        for text in ["", "client_errors = 3", "typo = 1", "[successes]\nrate = 'all'"] {
            assert!(Policy::parse(text).is_err(), "{text}");
        }
        let Err(CollectorError::Policy(wrong)) = Policy::parse(&text.replace("0.0", "nan")) else {
            panic!("accepted")
        };
        assert!(wrong.iter().any(|wrong| wrong.contains("rate")), "{wrong:?}");
    }
}
