//! SQL put together of fixed pieces and bound values: no input ever becomes text here, the `clickhouse` crate escapes it.
//! Knows no table.

use clickhouse::query::Query;
use warehouse::Warehouse;

/// A question on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    text: String,
    values: Vec<Value>,
    /// Whether it is only worth asking where a projection answers it.
    pub(super) is_projected: bool,
}

#[derive(Debug, Clone)]
enum Value {
    Number(i64),
    Numbers(Vec<i64>),
    Text(String),
    Texts(Vec<String>),
    Pairs(Vec<(String, i64)>),
}

impl Sql {
    /// Adds SQL of ours.
    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds what another one has; whether it is projected stays as it is here.
    pub(super) fn append(&mut self, other: Self) -> &mut Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        self.value(Value::Number(number))
    }

    pub(super) fn numbers(&mut self, numbers: Vec<i64>) -> &mut Self {
        self.value(Value::Numbers(numbers))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.value(Value::Text(text.to_owned()))
    }

    pub(super) fn texts(&mut self, texts: Vec<String>) -> &mut Self {
        self.value(Value::Texts(texts))
    }

    pub(super) fn pairs(&mut self, pairs: Vec<(String, i64)>) -> &mut Self {
        self.value(Value::Pairs(pairs))
    }

    fn value(&mut self, value: Value) -> &mut Self {
        self.text.push('?');
        self.values.push(value);
        self
    }

    /// The query, with the settings given.
    pub(super) fn query(&self, warehouse: &Warehouse, settings: &[(&str, &str)]) -> Query {
        let query = warehouse.query(&self.text, settings);
        self.values.iter().fold(query, |query, value| match value {
            Value::Number(number) => query.bind(number),
            Value::Numbers(numbers) => query.bind(numbers),
            Value::Text(text) => query.bind(text),
            Value::Texts(texts) => query.bind(texts),
            Value::Pairs(pairs) => query.bind(pairs),
        })
    }

    /// What tells this question from every other.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        *blake3::hash(format!("{self:?}").as_bytes()).as_bytes()
    }
}
