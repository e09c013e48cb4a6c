//! Defaults, file and environment into one struct, with every error at once and each naming its variable.
//!
//! serde stops at the first error, so the offending value is taken out and the rest read again until all of it
//! fits. What the values mean is checked by each crate's own `check`.

use std::path::Path;

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use figment::{Figment, Provider};
use serde::de::DeserializeOwned;

/// What every variable starts with.
pub(crate) const PREFIX: &str = "HOPLOG_";

/// Variables with the prefix that are not configuration: they say where to find it, or belong to other commands.
const NOT_CONFIGURATION: &[&str] =
    &["CONFIG", "DATA", "PORT_BASE", "LOG", "CACHE_DIR", "ENGINE_ARCHIVE", "ENGINE_SHA256", "URL", "API_KEY"];

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The variable that would set it right, for example `HOPLOG_SERVE__LISTEN`.
    pub variable: String,
    /// What is wrong. Never the value: it may be a secret.
    pub problem: String,
}

impl Mistake {
    /// Of a field at a dotted path.
    pub(crate) fn new(path: &str, problem: impl Into<String>) -> Self {
        Self {
            variable: format!("{PREFIX}{}", path.replace('.', "__").to_uppercase()),
            problem: problem.into(),
        }
    }
}

/// The layers, later ones winning: `defaults`, the file where there is one, the environment.
pub(crate) fn layers(defaults: Dict, file: Option<&Path>) -> Figment {
    let figment = Figment::from(Serialized::defaults(Value::from(defaults)));
    let figment = match file {
        Some(file) => figment.merge(Toml::file_exact(file)),
        None => figment,
    };
    figment.merge(Env::prefixed(PREFIX).ignore(NOT_CONFIGURATION).split("__"))
}

/// Reads `T` from the layers, with every value that has no place, or not the right type, left at its default.
///
/// `None` where even that can't be read.
pub(crate) fn extract<T: DeserializeOwned>(figment: &Figment) -> (Option<T>, Vec<Mistake>) {
    let data = match figment.data() {
        Ok(data) => data,
        Err(error) => return (None, error.into_iter().map(|error| mistake(&error)).collect()),
    };
    let mut values = data.into_values().fold(Dict::new(), |_, dict| dict);
    let mut mistakes = Vec::new();
    loop {
        let error = match Figment::from(Serialized::defaults(Value::from(values.clone()))).extract::<T>() {
            Ok(config) => return (Some(config), mistakes),
            Err(error) => error,
        };
        let before = mistakes.len();
        for error in error {
            if remove(&mut values, &path(&error)) {
                mistakes.push(mistake(&error));
            }
        }
        if mistakes.len() == before {
            // Nothing could be taken out: a whole section is missing or not a table.
            mistakes.push(Mistake::new("", "the configuration can't be read as a whole"));
            return (None, mistakes);
        }
    }
}

/// Where the error is; figment names an unknown field beside its path.
fn path(error: &figment::Error) -> Vec<String> {
    let mut path = error.path.clone();
    if let Kind::UnknownField(name, _) = &error.kind
        && path.last() != Some(name)
    {
        path.push(name.clone());
    }
    path
}

fn mistake(error: &figment::Error) -> Mistake {
    let path = path(error).join(".");
    let problem = match &error.kind {
        Kind::UnknownField(_, expected) => {
            format!("there is no such setting; there are: {}", expected.join(", "))
        }
        Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => format!("expected {expected}"),
        Kind::UnknownVariant(_, expected) => format!("expected one of {}", expected.join(", ")),
        Kind::InvalidLength(_, expected) => format!("expected {expected}"),
        Kind::MissingField(field) => format!("`{field}` is missing"),
        Kind::DuplicateField(field) => format!("`{field}` is there twice"),
        // Of a file that is no TOML, the further lines show the place, with whatever secret stands there.
        Kind::Message(message) => message.lines().next().unwrap_or_default().to_owned(),
        other => other.to_string(),
    };
    Mistake::new(&path, problem)
}

/// Takes a value out; `false` where there is none.
fn remove(values: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [name] => values.remove(name).is_some(),
        [name, rest @ ..] => {
            let inner = values.get_mut(name).and_then(|value| match value {
                Value::Dict(_, inner) => Some(inner),
                _ => None,
            });
            // Where the path goes on into what is no table, or into a list, the whole value is at fault.
            inner.is_some_and(|inner| remove(inner, rest)) || values.remove(name).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        serve: Serve,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Serve {
        listen: std::net::SocketAddr,
        workers: u16,
        names: Vec<String>,
    }

    impl Default for Serve {
        fn default() -> Self {
            Self { listen: ([127, 0, 0, 1], 8080).into(), workers: 2, names: Vec::new() }
        }
    }

    #[allow(clippy::result_large_err)] // figment's error, in the signature of `Jail`
    fn read(file: &str, environment: &[(&str, &str)]) -> (Option<Sample>, Vec<Mistake>) {
        // `Jail` gives each case an environment of its own.
        let mut result = None;
        figment::Jail::expect_with(|jail| {
            jail.create_file("hoplog.toml", file)?;
            environment.iter().for_each(|(name, value)| jail.set_env(name, value));
            result = Some(extract(&layers(Dict::new(), Some(Path::new("hoplog.toml")))));
            Ok(())
        });
        result.unwrap()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
        let (sample, mistakes) = read(
            "[serve]\nworkers = 3\nnames = ['a']",
            &[("HOPLOG_SERVE__WORKERS", "4"), ("HOPLOG_DATA", "x")],
        );
        assert_eq!(mistakes, []);
        let expected = Serve { workers: 4, names: vec!["a".to_owned()], ..Serve::default() };
        assert_eq!(sample.unwrap().serve, expected);
    }

    #[test]
    fn all_mistakes_come_at_once_and_each_names_its_variable_and_no_value() {
        let (sample, mistakes) = read(
            "[serve]\nlisten = 'secret-1'\nworkers = 70000\nwrokers = 'secret-2'",
            &[("HOPLOG_SERVE__NAMES", "secret-3"), ("HOPLOG_SREVE__X", "secret-4")],
        );
        assert_eq!(sample.unwrap().serve, Serve::default());
        let mut variables: Vec<_> = mistakes.iter().map(|mistake| mistake.variable.as_str()).collect();
        variables.sort_unstable();
        assert_eq!(
            variables,
            [
                "HOPLOG_SERVE__LISTEN",
                "HOPLOG_SERVE__NAMES",
                "HOPLOG_SERVE__WORKERS",
                "HOPLOG_SERVE__WROKERS",
                "HOPLOG_SREVE"
            ]
        );
        assert!(mistakes.iter().all(|mistake| !mistake.problem.contains("secret")), "{mistakes:?}");
    }

    #[test]
    fn a_file_that_is_no_toml_is_a_mistake_and_is_not_shown() {
        let (sample, mistakes) = read("[serve]\npassword = hunter2", &[]);
        assert!(sample.is_none());
        assert!(mistakes.len() == 1 && mistakes[0].problem.contains("line 2"), "{mistakes:?}");
        assert!(!mistakes[0].problem.contains("hunter2"), "{mistakes:?}");
    }
}
