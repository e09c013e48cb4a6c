//! Defaults, file and environment into one struct, with every error at once and each naming its variable.
//!
//! serde stops at the first error, so the offending value is read another way or taken out, and the rest read again until
//! all of it fits. What the values mean is checked by each crate's own `check`.

use std::path::Path;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::environment::{self, Variable};

/// What every variable starts with.
pub(super) const PREFIX: &str = "HOPLOG_";

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

/// Reads `T` from the layers, later ones winning: `defaults`, the file where there is one, the environment. Every value
/// that has no place, or not the right type, is left at its default.
///
/// `None` where even that can't be read.
pub(crate) fn load<T: DeserializeOwned>(defaults: Dict, file: Option<&Path>) -> (Option<T>, Vec<Mistake>) {
    let figment = Figment::from(Serialized::defaults(Value::from(defaults)));
    let figment = match file {
        Some(file) => figment.merge(Toml::file_exact(file)),
        None => figment,
    };
    let values: Dict = match figment.extract() {
        Ok(values) => values,
        Err(error) => return (None, error.into_iter().map(|error| mistake(&error)).collect()),
    };
    let (variables, mistakes) = environment::variables();
    let mut reader = Reader { values, variables, mistakes };
    (reader.read(), reader.mistakes)
}

/// What is left to be read, and what was wrong so far.
struct Reader {
    values: Dict,
    variables: Vec<Variable>,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        for variable in &mut self.variables {
            if let Some(value) = variable.meaning() {
                insert(&mut self.values, &variable.path, value);
            }
        }
        loop {
            let layer = Serialized::defaults(Value::from(self.values.clone()));
            let errors = match Figment::from(layer).extract::<T>() {
                Ok(config) => return Some(config),
                Err(errors) => errors,
            };
            let mut changed = false;
            for error in errors {
                changed |= self.mend(&error);
            }
            if !changed {
                // Nothing could be taken out: a whole section is missing or not a table.
                self.mistakes.push(Mistake::new("", "the configuration can't be read as a whole"));
                return None;
            }
        }
    }

    /// Reads the offending value another way, or takes it out; `false` where there is none.
    fn mend(&mut self, error: &figment::Error) -> bool {
        let path = path(error);
        let Some(at) = self.variables.iter().position(|variable| variable.path == path) else {
            let removed = remove(&mut self.values, &path);
            if removed {
                self.mistakes.push(mistake(error));
            }
            return removed;
        };
        let is_unknown = matches!(error.kind, Kind::UnknownField(..));
        if is_unknown && self.variables[at].may_name_a_file() {
            let variable = self.variables.swap_remove(at);
            remove(&mut self.values, &path);
            self.read_file(variable);
            return true;
        }
        if !is_unknown && let Some(value) = self.variables[at].meaning() {
            insert(&mut self.values, &path, value);
            return true;
        }
        let mistake = Mistake { variable: self.variables[at].name.clone(), ..mistake(error) };
        self.mistakes.push(mistake);
        remove(&mut self.values, &path)
    }

    /// Takes the value from the file that the variable names.
    fn read_file(&mut self, variable: Variable) {
        let name = variable.name.clone();
        match variable.read_file() {
            Err(mistake) => self.mistakes.push(mistake),
            Ok(variable)
                if let Some(other) = self.variables.iter().find(|other| other.path == variable.path) =>
            {
                let problem = format!("{} gives it as well", other.name);
                self.mistakes.push(Mistake { variable: name, problem });
            }
            Ok(mut variable) => {
                if let Some(value) = variable.meaning() {
                    insert(&mut self.values, &variable.path, value);
                }
                self.variables.push(variable);
            }
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

/// Puts a value in, and joins tables; where the path leads through what is no table, that is a mistake by itself.
pub(super) fn insert<S: AsRef<str>>(values: &mut Dict, path: &[S], value: Value) {
    let Some((name, rest)) = path.split_first() else { return };
    let name = name.as_ref().to_owned();
    if !rest.is_empty() {
        if let Value::Dict(_, inner) = values.entry(name).or_insert_with(|| Value::from(Dict::new())) {
            insert(inner, rest, value);
        }
        return;
    }
    match (values.get_mut(&name), value) {
        (Some(Value::Dict(_, inner)), Value::Dict(_, more)) => {
            more.into_iter().for_each(|(name, value)| insert(inner, &[name], value));
        }
        (_, value) => _ = values.insert(name, value),
    }
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
        password: String,
        policy_file: Option<std::path::PathBuf>,
    }

    impl Default for Serve {
        fn default() -> Self {
            Self {
                listen: ([127, 0, 0, 1], 8080).into(),
                workers: 2,
                names: Vec::new(),
                password: String::new(),
                policy_file: None,
            }
        }
    }

    #[allow(clippy::result_large_err)] // figment's error, in the signature of `Jail`
    fn read(file: &str, environment: &[(&str, &str)]) -> (Option<Sample>, Vec<Mistake>) {
        // `Jail` gives each case an environment of its own.
        let mut result = None;
        figment::Jail::expect_with(|jail| {
            jail.create_file("hoplog.toml", file)?;
            environment.iter().for_each(|(name, value)| jail.set_env(name, value));
            result = Some(load(Dict::new(), Some(Path::new("hoplog.toml"))));
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

    #[test]
    fn what_looks_like_something_else_is_a_text_where_a_text_is_wanted() {
        for text in
            ["4711", "0017", "1e9", "-0.5", "true", "[1]", "{a=1}", "with spaces and = signs", "münchen"]
        {
            let (sample, mistakes) = read("", &[("HOPLOG_SERVE__PASSWORD", text)]);
            assert_eq!((sample.unwrap().serve.password.as_str(), mistakes), (text, vec![]));
        }
        let (sample, mistakes) = read("", &[("HOPLOG_SERVE", "{workers=3,password=\"x\"}")]);
        assert_eq!((sample.unwrap().serve.workers, mistakes), (3, vec![]));
    }

    #[test]
    fn a_value_may_be_in_a_file() {
        #[allow(clippy::result_large_err)] // figment's error, in the signature of `Jail`
        figment::Jail::expect_with(|jail| {
            for (text, password) in
                [("s3cret\n", "s3cret"), ("4711", "4711"), ("\"a\"\r\n", "\"a\""), (" a \n\n", " a \n")]
            {
                jail.create_file("password", text)?;
                jail.set_env("HOPLOG_SERVE__PASSWORD_FILE", "password");
                let (sample, mistakes) = load::<Sample>(Dict::new(), None);
                assert_eq!((sample.unwrap().serve.password.as_str(), mistakes), (password, vec![]));
            }
            // Not only texts; and a setting that is called so stays what it is.
            jail.create_file("workers", "7\n")?;
            jail.set_env("HOPLOG_SERVE__WORKERS_FILE", "workers");
            jail.set_env("HOPLOG_SERVE__POLICY_FILE", "no such file");
            let (sample, mistakes) = load::<Sample>(Dict::new(), None);
            let serve = sample.unwrap().serve;
            assert_eq!((serve.workers, mistakes), (7, vec![]));
            assert_eq!(serve.policy_file.unwrap().to_str(), Some("no such file"));
            Ok(())
        });
    }

    #[test]
    fn what_is_wrong_with_a_value_s_file_names_its_variable() {
        #[allow(clippy::result_large_err)] // figment's error, in the signature of `Jail`
        figment::Jail::expect_with(|jail| {
            jail.create_file("words", "secret words\n")?;
            jail.create_file("empty", "\n")?;
            let cases = [
                ("HOPLOG_SERVE__PASSWORD_FILE", "missing", "can't be read"),
                ("HOPLOG_SERVE__LISTEN_FILE", "empty", "is empty"),
                ("HOPLOG_SERVE__WORKERS_FILE", "words", "expected u16"),
                ("HOPLOG_SERVE__PASWORD_FILE", "words", "no such setting"),
                ("HOPLOG_SERVE__NAMES_FILE", "words", "HOPLOG_SERVE__NAMES gives it as well"),
            ];
            cases.iter().for_each(|(name, file, _)| jail.set_env(name, file));
            jail.set_env("HOPLOG_SERVE__NAMES", "[a]");
            let (_, mistakes) = load::<Sample>(Dict::new(), None);
            assert_eq!(mistakes.len(), cases.len(), "{mistakes:?}");
            for (name, _, problem) in cases {
                let found = mistakes.iter().find(|mistake| mistake.variable == name);
                assert!(found.is_some_and(|found| found.problem.contains(problem)), "{name}: {mistakes:?}");
            }
            assert!(mistakes.iter().all(|mistake| !mistake.problem.contains("secret")), "{mistakes:?}");
            Ok(())
        });
    }
}
