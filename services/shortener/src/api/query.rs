//! The query of the list of short URLs.

use super::fields::{parse_date, tag};
use super::numbers::items_at_most;
use super::{cursor, numbers};
use crate::keys::now;
use crate::link::{ListQuery, Order};
use crate::statistics::Counts;

/// Links on a page where the request does not say.
const ITEMS_DEFAULT: u32 = 10;

/// Links on a page at most, also for Shlink's `-1` (all): beyond it there are pages.
const ITEMS_MAX: u32 = 1_000;

/// Orders that the link store does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VisitsOrder {
    /// By all visits.
    All,
    /// By those that no rule says a bot made.
    NonBots,
}

impl VisitsOrder {
    /// How many of the visits count.
    pub(super) fn of(self, counts: &Counts) -> u64 {
        match self {
            Self::All => counts.total(),
            Self::NonBots => counts.non_bots,
        }
    }
}

/// A list that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListRequest {
    pub(super) query: ListQuery,
    /// What it is ordered by instead of the query's order.
    pub(super) by_visits: Option<VisitsOrder>,
    /// Counted from 1; none with a cursor.
    pub(super) page: Option<u64>,
    pub(super) domain: Option<String>,
}

/// Reads it; every wrong parameter is named.
pub(super) fn parse(query: Option<&str>) -> Result<ListRequest, Vec<(&'static str, String)>> {
    let mut list = everything();
    let (mut wrong, mut page, mut domain, mut cursor) = (Vec::new(), 1_u64, None, None);
    let mut by_visits = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let mut take = |name: &'static str, read: Result<(), &'static str>| {
            wrong.extend(read.err().map(|why| (name, why.to_owned())));
        };
        match &*name {
            "page" => take("page", numbers::page(&value).map(|number| page = number)),
            "itemsPerPage" => take(
                "itemsPerPage",
                numbers::items_per_page(&value).map(|items| list.limit = items_at_most(items, ITEMS_MAX)),
            ),
            "apiKeyName" if !value.is_empty() => list.key_name = Some(value.into_owned()),
            "searchTerm" if !value.is_empty() => list.search = Some(value.into_owned()),
            name if is_array(name, "tags") => {
                list.tags.insert(tag(&value));
            }
            "tagsMode" => take("tagsMode", all(&value).map(|all| list.tags_all = all)),
            name if is_array(name, "excludeTags") => {
                list.exclude_tags.insert(tag(&value));
            }
            "excludeTagsMode" => take("excludeTagsMode", all(&value).map(|all| list.exclude_tags_all = all)),
            "orderBy" => take(
                "orderBy",
                order(&value).map(|(order, descending)| {
                    list.descending = descending;
                    by_visits = match order {
                        ListOrder::Stored(order) => {
                            list.order = order;
                            None
                        }
                        ListOrder::Visits(order) => Some(order),
                    };
                }),
            ),
            "startDate" if !value.is_empty() => {
                take("startDate", parse_date(&value, false).map(|time| list.created_from = Some(time)));
            }
            "endDate" if !value.is_empty() => {
                take("endDate", parse_date(&value, true).map(|time| list.created_to = Some(time)));
            }
            "excludeMaxVisitsReached" => take(
                "excludeMaxVisitsReached",
                numbers::truth(&value).map(|exclude| list.exclude_exhausted = exclude),
            ),
            "excludePastValidUntil" => take(
                "excludePastValidUntil",
                numbers::truth(&value).map(|exclude| list.exclude_expired_at = exclude.then(now)),
            ),
            "cursor" => cursor = Some(value.into_owned()),
            "domain" => domain = Some(value.into_owned()),
            _ => {}
        }
    }
    if by_visits.is_some() && cursor.take().is_some() {
        // Counts change between two requests: a place among them is none.
        wrong.push(("cursor", "is not for lists by visits, which have pages".to_owned()));
    }
    let page = place(&mut list, page, cursor, &mut wrong);
    if wrong.is_empty() { Ok(ListRequest { query: list, by_visits, page, domain }) } else { Err(wrong) }
}

/// What is listed when nothing is asked for.
fn everything() -> ListQuery {
    // Without an order Shlink gives the newest first.
    ListQuery { count: true, descending: true, limit: ITEMS_DEFAULT, ..ListQuery::default() }
}

/// PHP's arrays come as `tags[]`, `tags[0]` and so on.
pub(super) fn is_array(name: &str, array: &str) -> bool {
    name.strip_prefix(array)
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with('[') && rest.ends_with(']')))
}

fn all(mode: &str) -> Result<bool, &'static str> {
    match mode {
        "any" => Ok(false),
        "all" => Ok(true),
        _ => Err("is neither any nor all"),
    }
}

/// Where a list begins: at a page, counted from 1, which is returned, or at a cursor.
fn place(
    list: &mut ListQuery,
    page: u64,
    cursor: Option<String>,
    wrong: &mut Vec<(&'static str, String)>,
) -> Option<u64> {
    match cursor {
        None => {
            list.offset = (page - 1).saturating_mul(u64::from(list.limit));
            Some(page)
        }
        Some(text) => {
            list.count = false;
            // An empty one is where a list begins that is never counted.
            if !text.is_empty() {
                match cursor::read(&text, list) {
                    Ok(after) => list.after = Some(after),
                    Err(why) => wrong.push(("cursor", why.to_owned())),
                }
            }
            None
        }
    }
}

/// What a list is ordered by, and who knows it.
enum ListOrder {
    Stored(Order),
    Visits(VisitsOrder),
}

fn order(text: &str) -> Result<(ListOrder, bool), &'static str> {
    let (field, direction) = text.split_once('-').unwrap_or((text, "ASC"));
    let order = match field {
        "dateCreated" => ListOrder::Stored(Order::Created),
        "shortCode" => ListOrder::Stored(Order::Code),
        "longUrl" => ListOrder::Stored(Order::Target),
        "title" => ListOrder::Stored(Order::Title),
        "visits" => ListOrder::Visits(VisitsOrder::All),
        "nonBotVisits" => ListOrder::Visits(VisitsOrder::NonBots),
        _ => return Err("is none of dateCreated, shortCode, longUrl, title, visits, nonBotVisits"),
    };
    match direction {
        "ASC" => Ok((order, false)),
        "DESC" => Ok((order, true)),
        _ => Err("ends neither in -ASC nor in -DESC"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let read = parse(Some(
            "page=3&itemsPerPage=20&searchTerm=x%20y&tags[]=A&tags%5B1%5D=b&tagsMode=all&orderBy=title-DESC\
             &startDate=1970-01-02&endDate=1970-01-02&unknown=1&excludeMaxVisitsReached=true\
             &excludeTags[]=C&excludeTagsMode=all&apiKeyName=my%20key",
        ))
        .unwrap();
        assert_eq!(read.page, Some(3));
        assert_eq!(read.query.offset, 40);
        assert_eq!(read.query.search.as_deref(), Some("x y"));
        assert_eq!(read.query.key_name.as_deref(), Some("my key"));
        assert_eq!(read.query.tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.query.exclude_tags.iter().collect::<Vec<_>>(), ["c"]);
        assert!(read.query.exclude_tags_all);
        assert!(read.query.tags_all && read.query.descending && read.query.exclude_exhausted);
        assert_eq!((read.query.created_from, read.query.created_to), (Some(86_400), Some(172_799)));
        let by_visits = |query| parse(Some(query)).map(|read| (read.by_visits, read.query.descending));
        assert_eq!(by_visits("orderBy=visits-DESC"), Ok((Some(VisitsOrder::All), true)));
        assert_eq!(by_visits("orderBy=nonBotVisits"), Ok((Some(VisitsOrder::NonBots), false)));
        assert_eq!(by_visits("orderBy=visits&orderBy=title"), Ok((None, false)));
        assert_eq!(by_visits("cursor=&orderBy=visits").unwrap_err()[0].0, "cursor");
        assert_eq!(parse(Some("itemsPerPage=-1")).unwrap().query.limit, ITEMS_MAX);
        assert_eq!(parse(Some("page=9007199254740991")).unwrap().query.offset, 90_071_992_547_409_900);
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        let wrong = parse(Some("page=0&itemsPerPage=x&tagsMode=some&orderBy=visits-UP&startDate=never"));
        let names: Vec<_> = wrong.unwrap_err().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["page", "itemsPerPage", "tagsMode", "orderBy", "startDate"]);
    }
}
