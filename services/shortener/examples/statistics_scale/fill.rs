//! Fills the tables as the collector would have: month by month, so that each has a part or a few. Links are clicked by
//! Zipf's law: of a million, the first gets a fourteenth of all clicks, and half of them hardly any.

use anyhow::Result;
use warehouse::Warehouse;

/// Months of clicks.
pub(crate) const MONTHS: u64 = 24;

/// The first second of them, 2024-11-01, and the days of a month.
pub(crate) const BEGIN: i64 = 1_730_419_200;
pub(crate) const MONTH_DAYS: i64 = 28;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) clicks: u64,
    pub(crate) links: u64,
}

/// The code of a link by its rank, from 1.
pub(crate) const CODE: &str = "substring(lower(hex(cityHash64(rank, 7))), 1, 7)";

/// Memory and blocks of an insert: what fits an engine of 2 GiB.
const SETTINGS: &str = "max_insert_block_size = 2000000, min_insert_block_size_rows = 2000000, \
                        max_bytes_before_external_group_by = 400000000";

pub(crate) async fn fill(warehouse: &Warehouse, size: Size) -> Result<()> {
    for month in 0..MONTHS {
        let clicks = clicks(size, month);
        let hours = format!(
            "INSERT INTO clicks_by_hour (hour, code, bot, clicks, visitors) SELECT toStartOfHour(ts) AS hour, code, bot, \
             count(), uniqState(visitor) FROM {clicks} GROUP BY hour, code, bot SETTINGS {SETTINGS}"
        );
        let days = format!(
            "INSERT INTO clicks_by_day (day, code, dimension, value, bot, clicks) SELECT toDate(ts) AS day, code, \
             d.1 AS dimension, d.2 AS value, bot, count() FROM {clicks} \
             ARRAY JOIN [('country', country), ('device', device), ('browser', browser), ('os', os), \
             ('referrer_host', referrer_host)] AS d GROUP BY day, code, dimension, value, bot SETTINGS {SETTINGS}"
        );
        warehouse.execute(&hours).await?;
        warehouse.execute(&days).await?;
        let begin = BEGIN + i64::try_from(month)? * MONTH_DAYS * 86_400;
        let end = begin + MONTH_DAYS * 86_400;
        warehouse
            .execute(&format!(
                "INSERT INTO visits_by_hour (hour, kind, bot, visits, visitors) SELECT hour, 'click', bot, sum(clicks), \
                 uniqMergeState(visitors) FROM clicks_by_hour WHERE hour >= toDateTime({begin}) AND hour < \
                 toDateTime({end}) GROUP BY hour, bot"
            ))
            .await?;
        warehouse
            .execute(&format!(
                "INSERT INTO visits_by_day (day, kind, dimension, value, bot, visits) SELECT day, 'click', dimension, \
                 value, bot, sum(clicks) FROM clicks_by_day WHERE day >= toDate(toDateTime({begin}, 'UTC')) AND day < \
                 toDate(toDateTime({end}, 'UTC')) GROUP BY day, dimension, value, bot"
            ))
            .await?;
    }
    // Single clicks have a time to live: of the last month alone.
    let columns = "ts, code, visitor, country, device, browser, os, referrer_host, bot";
    let single = format!("INSERT INTO clicks ({columns}) SELECT {columns} FROM {}", clicks(size, MONTHS - 1));
    warehouse.execute(&format!("{single} SETTINGS {SETTINGS}")).await?;
    Ok(())
}

/// The clicks of a month, each a function of its number.
fn clicks(size: Size, month: u64) -> String {
    let Size { clicks, links } = size;
    let count = clicks / MONTHS;
    let random = |salt: u8| format!("cityHash64(number, {month}, {salt})");
    let share = |salt: u8| format!("{} / 18446744073709551616.", random(salt));
    let begin = BEGIN + i64::try_from(month).unwrap_or_default() * MONTH_DAYS * 86_400;
    format!(
        "(SELECT toDateTime({begin}, 'UTC') + toUInt32({} % {}) AS ts, toUInt64(pow({links}, {})) AS rank, {CODE} AS code, \
         {} % 5 = 0 AS bot, {} AS visitor, concat('C', toString(toUInt32(pow(60, {})))) AS country, \
         ['desktop', 'mobile', ''][1 + {} % 3] AS device, concat('Browser', toString(toUInt32(pow(8, {})))) AS browser, \
         concat('System', toString(toUInt32(pow(6, {})))) AS os, \
         concat('site', toString(toUInt32(pow(200, {}))), '.example') AS referrer_host FROM numbers({count}))",
        random(1),
        MONTH_DAYS * 86_400,
        share(2),
        random(3),
        random(4),
        share(5),
        random(6),
        share(7),
        share(8),
        share(9),
    )
}

/// Rows and bytes on disk by table, and of the totals by link within.
pub(crate) async fn sizes(warehouse: &Warehouse) -> Result<Vec<(String, u64, u64)>> {
    let parts = |kind: &str, name: &str| {
        format!(
            "SELECT toString({name}) AS part_of, sum(rows), sum(bytes_on_disk) FROM system.{kind} \
             WHERE active AND database = currentDatabase() GROUP BY part_of"
        )
    };
    let sql = format!(
        "SELECT * FROM ({} UNION ALL {}) ORDER BY 1",
        parts("parts", "table"),
        parts("projection_parts", "name")
    );
    Ok(warehouse.rows(&sql, &[]).await?)
}
