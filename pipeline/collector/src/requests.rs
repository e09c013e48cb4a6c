//! The rows of `requests`: events that are kept, column by column as the registry of fields has them.

use warehouse::{Column, SymbolColumn, TextColumn};
use wide_event::registry::Kind;
use wide_event::{Event, FIELDS, Value};

use crate::intent::Place;

/// The kept events of a range.
#[derive(Debug)]
pub(crate) struct Requests {
    fields: Vec<Column>,
    weight: Vec<f64>,
    reason: SymbolColumn,
    offset: Vec<u64>,
    /// Where each row is from.
    pub(crate) places: Vec<Place>,
    /// For values that are written before they are copied.
    scratch: String,
}

impl Default for Requests {
    fn default() -> Self {
        let column = |kind: Kind| match kind {
            Kind::Time => Column::Time(Vec::new()),
            Kind::U64 | Kind::Hash => Column::U64(Vec::new()),
            Kind::U32 => Column::U32(Vec::new()),
            Kind::U16 => Column::U16(Vec::new()),
            Kind::U8 => Column::U8(Vec::new()),
            Kind::Flag => Column::Flag(Vec::new()),
            Kind::Symbol => Column::Symbol(SymbolColumn::default()),
            Kind::Text | Kind::Trace | Kind::Span => Column::Text(TextColumn::default()),
        };
        Self {
            fields: FIELDS.iter().map(|field| column(field.kind)).collect(),
            weight: Vec::new(),
            reason: SymbolColumn::default(),
            offset: Vec::new(),
            places: Vec::new(),
            scratch: String::new(),
        }
    }
}

impl Requests {
    /// Adds an event.
    pub(crate) fn push(&mut self, event: &Event<'_>, weight: f64, reason: &str, place: Place) {
        for (column, value) in self.fields.iter_mut().zip(event.values()) {
            push(column, value, &mut self.scratch);
        }
        self.weight.push(weight);
        self.reason.push(reason);
        self.offset.push(place.0);
        self.places.push(place);
    }

    /// The columns, without partition and time of collection, and where the rows are from.
    pub(crate) fn into_columns(self) -> (Vec<(&'static str, Column)>, Vec<Place>) {
        let mut columns: Vec<_> = FIELDS.iter().map(|field| field.name).zip(self.fields).collect();
        columns.push(("sample_weight", Column::F64(self.weight)));
        columns.push(("sample_reason", Column::Symbol(self.reason)));
        columns.push(("log_offset", Column::U64(self.offset)));
        (columns, self.places)
    }
}

/// A value that does not fit its column would shift all rows after it: columns are made from the very registry that the
/// values come from, a test holds them together, and the block refuses columns of different lengths.
fn push(column: &mut Column, value: Value<'_>, scratch: &mut String) {
    use std::fmt::Write;
    scratch.clear();
    match (column, value) {
        (Column::Time(values), Value::Time(us)) => values.push(us),
        (Column::U64(values), Value::U64(number)) => values.push(number),
        (Column::U32(values), Value::U32(number)) => values.push(number),
        (Column::U16(values), Value::U16(number)) => values.push(number),
        (Column::U8(values), Value::U8(number)) => values.push(number),
        (Column::Flag(values), Value::Flag(flag)) => values.push(flag),
        (Column::Symbol(symbols), Value::Text(text)) => symbols.push(text),
        (Column::Text(texts), Value::Text(text)) => texts.push(text),
        (Column::Text(texts), value) => {
            // Writing to a string can't fail. Ids that are not there stay empty.
            let _ = match value {
                Value::Trace(id) if id.0 != 0 => write!(scratch, "{id}"),
                Value::Span(id) if id.0 != 0 => write!(scratch, "{id}"),
                Value::Network(network) => write!(scratch, "{network}"),
                _ => Ok(()),
            };
            texts.push(scratch.as_str());
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_column_of_its_kind() {
        let mut requests = Requests::default();
        requests.push(&Event::default(), 1.0, "base", (0, 1));
        requests.push(&Event::default(), 1.0, "base", (0, 2));
        for (field, column) in FIELDS.iter().zip(&requests.fields) {
            assert_eq!(column.len(), 2, "{}", field.name);
            assert_eq!(column.type_name(), field.kind.column_type(), "{}", field.name);
        }
    }
}
