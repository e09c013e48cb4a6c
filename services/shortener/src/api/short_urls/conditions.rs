//! Conditions of redirect rules between Shlink's JSON (`type`, `matchKey`, `matchValue`) and what is stored.
//! Each value is checked, so that no rule is stored that can never hold for being misspelt.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::document::date_text;
use crate::api::fields::parse_date;
use crate::client_addr::Network;
use crate::rule::{Browser, Condition, Device};

/// Longest key or value, in bytes; Shlink's columns.
const BYTES_MAX: usize = 512;

/// Devices by Shlink's names, which are also ours.
const DEVICES: [(&str, Device); 8] = [
    ("android", Device::Android),
    ("ios", Device::Ios),
    ("mobile", Device::Mobile),
    ("windows", Device::Windows),
    ("macos", Device::Macos),
    ("linux", Device::Linux),
    ("chromeos", Device::Chromeos),
    ("desktop", Device::Desktop),
];

/// Browsers by Shlink's names.
const BROWSERS: [(&str, Browser); 6] = [
    ("chrome", Browser::Chrome),
    ("firefox", Browser::Firefox),
    ("edge", Browser::Edge),
    ("safari", Browser::Safari),
    ("opera", Browser::Opera),
    ("android_browser", Browser::AndroidBrowser),
];

pub(super) fn read(condition: &Value) -> Result<Condition, &'static str> {
    let Value::Object(condition) = condition else { return Err("is not an object") };
    let kind = text(condition, "type")?.ok_or("has no type")?;
    let (key, value) = (text(condition, "matchKey")?, text(condition, "matchValue")?);
    let key = || key.ok_or("has no matchKey").map(str::to_owned);
    let value = || value.ok_or("has no matchValue");
    Ok(match kind {
        "device" => Condition::Device { device: device(value()?)? },
        "browser" => Condition::Browser { browser: browser(value()?)? },
        "language" => Condition::Language { language: language(value()?)? },
        "query-param" => Condition::QueryParam { name: key()?, value: value()?.to_owned() },
        "any-value-query-param" => Condition::AnyValueQueryParam { name: key()? },
        "valueless-query-param" => Condition::ValuelessQueryParam { name: key()? },
        "ip-address" => Condition::IpAddress { pattern: pattern(value()?)? },
        "geolocation-country-code" => Condition::Country { country: country(value()?)? },
        "before-date" => Condition::Before { at: parse_date(value()?, false)? },
        "after-date" => Condition::After { at: parse_date(value()?, false)? },
        "geolocation-city-name" => return Err("asks for a city, and none are known here"),
        _ => return Err("has an unknown type"),
    })
}

pub(super) fn write(condition: &Condition) -> Value {
    let (kind, key, value) = match condition {
        Condition::Device { device } => {
            let named = DEVICES.iter().find(|(_, known)| known == device);
            ("device", None, named.map(|(name, _)| (*name).to_owned()))
        }
        Condition::Browser { browser } => {
            let named = BROWSERS.iter().find(|(_, known)| known == browser);
            ("browser", None, named.map(|(name, _)| (*name).to_owned()))
        }
        Condition::Language { language } => ("language", None, Some(language.clone())),
        Condition::QueryParam { name, value } => ("query-param", Some(name), Some(value.clone())),
        Condition::AnyValueQueryParam { name } => ("any-value-query-param", Some(name), None),
        Condition::ValuelessQueryParam { name } => ("valueless-query-param", Some(name), None),
        Condition::IpAddress { pattern } => ("ip-address", None, Some(pattern.clone())),
        Condition::Country { country } => ("geolocation-country-code", None, Some(country.clone())),
        Condition::Before { at } => ("before-date", None, Some(date_text(*at))),
        Condition::After { at } => ("after-date", None, Some(date_text(*at))),
    };
    json!({ "type": kind, "matchKey": key, "matchValue": value })
}

/// A text that is there and not empty.
fn text<'a>(condition: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match condition.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > BYTES_MAX => Err("has a text of more than 512 bytes"),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err("has a value that is not a string"),
    }
}

fn device(name: &str) -> Result<Device, &'static str> {
    let known = DEVICES.iter().find(|(known, _)| *known == name);
    known.map(|(_, device)| *device).ok_or("names an unknown device")
}

fn browser(name: &str) -> Result<Browser, &'static str> {
    let known = BROWSERS.iter().find(|(known, _)| *known == name);
    known.map(|(_, browser)| *browser).ok_or("names an unknown browser")
}

/// A tag as RFC 5646 builds them, of a language and what narrows it down; people write `_` for `-`.
fn language(tag: &str) -> Result<String, &'static str> {
    let tag = tag.trim().to_ascii_lowercase().replace('_', "-");
    let mut parts = tag.split('-');
    let language = parts.next().unwrap_or_default();
    let is_right = (2..=8).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && parts.all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    if is_right { Ok(tag) } else { Err("names no language such as en or en-GB") }
}

fn country(code: &str) -> Result<String, &'static str> {
    let code = code.to_ascii_uppercase();
    let is_right = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_right { Ok(code) } else { Err("names no country by its two letters") }
}

fn pattern(text: &str) -> Result<String, &'static str> {
    let is_right = if text.contains('*') {
        // With each `*` a number it must be an address.
        text.split('.').all(|part| part == "*" || !part.contains('*'))
            && text.replace('*', "0").parse::<Ipv4Addr>().is_ok()
    } else {
        text.parse::<Network>().is_ok()
    };
    if is_right { Ok(text.to_owned()) } else { Err("names no address, network or pattern with *") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(kind: &str, key: Option<&str>, value: Option<&str>) -> Value {
        json!({ "type": kind, "matchKey": key, "matchValue": value })
    }

    #[test]
    fn conditions_come_back_as_they_went_in() {
        let cases = [
            condition("device", None, Some("android")),
            condition("device", None, Some("desktop")),
            condition("browser", None, Some("firefox")),
            condition("browser", None, Some("android_browser")),
            condition("language", None, Some("en")),
            condition("language", None, Some("en-gb")),
            condition("query-param", Some("utm"), Some("x y")),
            condition("any-value-query-param", Some("utm"), None),
            condition("valueless-query-param", Some("utm"), None),
            condition("ip-address", None, Some("1.2.3.4")),
            condition("ip-address", None, Some("192.168.1.0/24")),
            condition("ip-address", None, Some("1.2.*.1")),
            condition("ip-address", None, Some("2001:db8::/32")),
            condition("geolocation-country-code", None, Some("GB")),
            condition("before-date", None, Some("2030-01-02T03:04:05+00:00")),
            condition("after-date", None, Some("2030-01-02T03:04:05+00:00")),
        ];
        for case in cases {
            let read = read(&case).unwrap_or_else(|why| panic!("{case}: {why}"));
            assert_eq!(write(&read), case);
        }
        assert_eq!(write(&read(&condition("language", None, Some("en_GB"))).unwrap())["matchValue"], "en-gb");
        assert_eq!(
            write(&read(&condition("geolocation-country-code", None, Some("gb"))).unwrap())["matchValue"],
            "GB"
        );
    }

    #[test]
    fn what_could_never_hold_is_refused() {
        let long = "a".repeat(513);
        let cases = [
            json!("device"),
            json!({}),
            json!({ "type": 1 }),
            condition("", None, None),
            condition("unknown", None, Some("x")),
            condition("device", None, None),
            condition("device", None, Some("toaster")),
            condition("language", None, Some("english language")),
            condition("language", None, Some("e")),
            condition("query-param", None, Some("x")),
            condition("query-param", Some("utm"), Some("")),
            condition("query-param", Some("utm"), Some(&long)),
            condition("any-value-query-param", None, Some("utm")),
            condition("before-date", Some(&long), Some("2030-01-02")),
            condition("valueless-query-param", Some(""), None),
            condition("ip-address", None, Some("456.2.385.4")),
            condition("ip-address", None, Some("1.2.3.*1")),
            condition("ip-address", None, Some("1.2.*")),
            condition("ip-address", None, Some("192.168.1.0/33")),
            condition("geolocation-country-code", None, Some("Germany")),
            condition("geolocation-city-name", None, Some("Berlin")),
            condition("browser", None, Some("netscape")),
            condition("browser", Some("firefox"), None),
            condition("before-date", None, Some("soon")),
            condition("after-date", None, None),
        ];
        for case in cases {
            assert!(read(&case).is_err(), "{case}");
        }
    }
}
