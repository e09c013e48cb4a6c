//! The query of statistics: when, told apart how, in which time zone.

use time::UtcOffset;

use crate::api::fields::parse_date;
use crate::api::numbers;
use crate::statistics::{Interval, Span};

/// Values of each kind where the request does not say.
const TOP_DEFAULT: u32 = 10;

/// Values of each kind at most.
const TOP_MAX: u32 = 100;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) span: Span,
    pub(super) exclude_bots: bool,
    pub(super) interval: Interval,
    pub(super) offset_h: i8,
    pub(super) top: u32,
}

impl Asked {
    pub(super) fn offset(&self) -> UtcOffset {
        UtcOffset::from_hms(self.offset_h, 0, 0).unwrap_or(UtcOffset::UTC)
    }
}

/// Reads it; every wrong parameter is named.
pub(super) fn parse(query: Option<&str>) -> Result<Asked, Vec<(&'static str, String)>> {
    let mut wrong = Vec::new();
    let (mut start, mut end) = (None, None);
    let mut asked = Asked {
        span: Span::default(),
        exclude_bots: false,
        interval: Interval::Day,
        offset_h: 0,
        top: TOP_DEFAULT,
    };
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let mut refuse = |name: &'static str, why: &str| wrong.push((name, why.to_owned()));
        match &*name {
            "startDate" if !value.is_empty() => start = Some(value),
            "endDate" if !value.is_empty() => end = Some(value),
            "excludeBots" => match numbers::truth(&value) {
                Ok(exclude) => asked.exclude_bots = exclude,
                Err(why) => refuse("excludeBots", why),
            },
            "interval" => match &*value {
                "hour" => asked.interval = Interval::Hour,
                "day" => asked.interval = Interval::Day,
                "month" => asked.interval = Interval::Month,
                _ => refuse("interval", "is none of hour, day, month"),
            },
            "utcOffset" => match utc_offset(&value) {
                Some(hours) => asked.offset_h = hours,
                None => refuse("utcOffset", "is not a whole number of hours such as +02:00"),
            },
            "top" => match value.parse() {
                Ok(number @ 1..=TOP_MAX) => asked.top = number,
                _ => refuse("top", "is not a whole number from 1 to 100"),
            },
            _ => {}
        }
    }
    // A date alone is one of the time zone, which may be named after it.
    let mut read = |name: &'static str, text: Option<std::borrow::Cow<'_, str>>, end_of_day: bool| {
        let text = text?;
        let shift = if text.len() == "2025-01-01".len() { i64::from(asked.offset_h) * 3_600 } else { 0 };
        parse_date(&text, end_of_day)
            .map_err(|why| wrong.push((name, why.to_owned())))
            .ok()
            .map(|time| time - shift + i64::from(end_of_day))
    };
    asked.span = Span { from: read("startDate", start, false), to: read("endDate", end, true) };
    if wrong.is_empty() { Ok(asked) } else { Err(wrong) }
}

/// Hours ahead of UTC. A plus sign in a query is a space.
fn utc_offset(text: &str) -> Option<i8> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+" | " ", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let hours = match digits.len() {
        2 => digits,
        _ => digits.strip_suffix(":00").or_else(|| digits.strip_suffix("00"))?,
    };
    let is_two = hours.len() == 2 && hours.bytes().all(|byte| byte.is_ascii_digit());
    // Zones reach from 12 hours behind to 14 ahead.
    let hours = is_two.then(|| hours.parse::<i8>().ok()).flatten()? * sign;
    (-12..=14).contains(&hours).then_some(hours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_whole_hours() {
        for (text, hours) in [
            ("Z", Some(0)),
            ("+02:00", Some(2)),
            (" 02:00", Some(2)),
            ("-0500", Some(-5)),
            ("+14", Some(14)),
            ("+00", Some(0)),
            ("-0000", Some(0)),
            ("+05:30", None),
            ("+15:00", None),
            ("-13", None),
            ("2", None),
            ("+é", None),
            ("", None),
        ] {
            assert_eq!(utc_offset(text), hours, "{text}");
        }
    }

    #[test]
    fn dates_alone_are_of_the_time_zone() {
        let asked =
            parse(Some("startDate=1970-01-03&endDate=1970-01-03&utcOffset=%2B02:00&interval=hour&top=5"));
        let asked = asked.unwrap();
        assert_eq!(asked.span, Span { from: Some(2 * 86_400 - 7_200), to: Some(3 * 86_400 - 7_200) });
        assert_eq!((asked.interval, asked.top, asked.offset_h), (Interval::Hour, 5, 2));
        let wrong = parse(Some("startDate=x&endDate=y&interval=week&utcOffset=+05:30&top=0")).unwrap_err();
        let names: Vec<_> = wrong.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["interval", "utcOffset", "top", "startDate", "endDate"]);
    }
}
