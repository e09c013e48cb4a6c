//! Numbers and truth values as clients write them, in queries and in bodies.
//! Which there are, and what each is for, is their readers' to know.

use serde_json::Value;

/// The largest whole number that every reader and writer of JSON has exactly (RFC 8259, 6).
pub(super) const WHOLE_MAX: i64 = 9_007_199_254_740_991;

/// A whole number in JSON, where `2.0` is one as well as `2`. One that is not exact is none.
pub(in crate::api) fn whole(value: &Value) -> Option<i64> {
    if let Some(number) = value.as_i64() {
        return Some(number);
    }
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    // Exact: no fraction, and no more bits than a float has.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    (number.abs() <= WHOLE_MAX as f64).then_some(number as i64)
}

/// The number of a page, from 1.
pub(in crate::api) fn page(text: &str) -> Result<u64, &'static str> {
    let page = text.parse().ok().filter(|page| (1..=WHOLE_MAX.cast_unsigned()).contains(page));
    page.ok_or("is not a whole number from 1 to 9007199254740991")
}

/// Items on a page; nothing for Shlink's `-1`, which is as many as there may be.
pub(in crate::api) fn items_per_page(text: &str) -> Result<Option<u64>, &'static str> {
    match text.parse() {
        Ok(-1) => Ok(None),
        Ok(items @ 1..=WHOLE_MAX) => Ok(Some(items.cast_unsigned())),
        _ => Err("is neither a whole number from 1 to 9007199254740991 nor -1"),
    }
}

/// As many items as were asked for, and as there may be.
pub(in crate::api) fn items_at_most(asked: Option<u64>, max: u32) -> u32 {
    asked.and_then(|items| u32::try_from(items).ok()).unwrap_or(max).min(max)
}

/// How many pages some items are on. An empty list has one, which is empty, as in Shlink.
pub(in crate::api) fn pages(items: u64, per_page: u64) -> u64 {
    items.div_ceil(per_page).max(1)
}

/// A truth value. Who writes anything else would be answered for something else than was meant.
pub(in crate::api) fn truth(text: &str) -> Result<bool, &'static str> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_exact() {
        for (text, answer) in [
            ("1", Some(1)),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("0", None),
            ("-1", None),
            ("1.0", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(page(text).ok(), answer, "{text}");
            let items = items_per_page(text).ok();
            assert_eq!(items, if text == "-1" { Some(None) } else { answer.map(Some) }, "{text}");
        }
    }

    #[test]
    fn an_empty_list_has_a_page() {
        let counts = [(0, 1), (1, 1), (10, 1), (11, 2)].map(|(items, count)| (pages(items, 10), count));
        assert!(counts.iter().all(|(pages, count)| pages == count), "{counts:?}");
    }

    #[test]
    fn whole_numbers_may_be_written_as_fractions() {
        for (text, answer) in [
            ("2", Some(2)),
            ("2.0", Some(2)),
            ("2e2", Some(200)),
            ("-1.0", Some(-1)),
            ("2.5", None),
            ("1e16", None),
            ("18446744073709551615", None),
            ("\"2\"", None),
            ("null", None),
        ] {
            assert_eq!(whole(&serde_json::from_str(text).unwrap()), answer, "{text}");
        }
    }

    #[test]
    fn only_truth_values_are_true_or_false() {
        for (text, answer) in
            [("true", Some(true)), ("True", Some(true)), ("false", Some(false)), ("1", None), ("", None)]
        {
            assert_eq!(truth(text).ok(), answer, "{text}");
        }
    }
}
