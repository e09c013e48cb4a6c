//! Wall-clock time in microseconds, written as RFC 3339.
//!
//! The form that hoplog itself writes has a fixed width and is read and written without a library, since every
//! event passes here twice; any other RFC 3339 form goes to the `time` crate. No clock is read here.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::value::{as_string, parse_str};

const US_PER_S: i64 = 1_000_000;
const S_PER_DAY: i64 = 86_400;
/// `2026-11-21T22:37:00.123456Z`
const WIDTH: usize = 27;

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From the system's clock; times before 1970 count as 1970, times after 2262 as 2262.
    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Days since 1970-01-01 UTC.
    #[must_use]
    pub const fn day(self) -> i64 {
        self.0.div_euclid(US_PER_S * S_PER_DAY)
    }

    /// Seconds since 1970-01-01 UTC, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(US_PER_S)
    }

    /// Reads RFC 3339.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().and_then(parse_fixed).or_else(|| {
            let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
            i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).ok().map(Self)
        })
    }
}

/// Reads the fixed form; `None` for any other, also for valid RFC 3339 of another width.
fn parse_fixed(text: &[u8; WIDTH]) -> Option<Timestamp> {
    const SEPARATORS: [(usize, u8); 7] =
        [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if SEPARATORS.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * S_PER_DAY + hour * 3600 + minute * 60 + second;
    Some(Timestamp(seconds * US_PER_S + number(20, 26)?))
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
/// Formula: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse, `civil_from_days` of the same source: year, month, day.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

impl fmt::Display for Timestamp {
    /// Years 0 to 9999 have the fixed width; RFC 3339 knows no others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.day());
        let second = self.seconds().rem_euclid(S_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let us = self.0.rem_euclid(US_PER_S);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
    }
}

as_string!(Timestamp, "a time in RFC 3339");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 0000-01-01 and 9999-12-31, the years RFC 3339 can write.
    const RANGE: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

    proptest! {
        #[test]
        fn agrees_with_the_time_crate(us in RANGE) {
            let text = Timestamp(us).to_string();
            prop_assert_eq!(text.len(), WIDTH);
            let theirs = OffsetDateTime::parse(&text, &Rfc3339).unwrap();
            prop_assert_eq!(theirs.unix_timestamp_nanos(), i128::from(us) * 1000);
            prop_assert_eq!(parse_fixed(text.as_bytes().try_into().unwrap()), Some(Timestamp(us)));
        }

        #[test]
        fn whatever_the_fixed_form_accepts_the_library_accepts(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z") {
            let fixed = parse_fixed(text.as_bytes().try_into().unwrap());
            // A leap second is the one form that only the library knows.
            if !text.contains(":60.") {
                prop_assert_eq!(fixed.is_some(), OffsetDateTime::parse(&text, &Rfc3339).is_ok());
            }
        }
    }

    #[test]
    fn reads_other_forms_of_rfc_3339() {
        let expected = Some(Timestamp(1_763_764_620_500_000));
        for text in
            ["2025-11-21T22:37:00.5Z", "2025-11-21T23:37:00.500+01:00", "2025-11-21T22:37:00.500000000Z"]
        {
            assert_eq!(Timestamp::parse(text), expected, "{text}");
        }
        for text in ["", "now", "2025-11-21", "2025-02-30T00:00:00.000000Z", "2025-11-21T22:37:00.5"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
