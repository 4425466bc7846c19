//! When a schedule is due. Pure: a cron pattern, a time zone and the time before.
//!
//! Where the clock is set, two rules hold for patterns that name hours:
//! - a local time that does not exist counts for the next one that does; several in the same gap, once,
//! - a local time that comes twice counts the first time only.
//!
//! A pattern for every hour (`*/5 * * * *`) knows no such times: it goes on through the hour that comes twice, and
//! what lies in a gap is left out, because the next follows at once anyway.

use crate::{Detail, Error, Result};
use chrono::{DateTime, Duration, LocalResult, TimeZone, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

/// A cron pattern in its time zone.
#[derive(Debug, Clone)]
pub struct Timing {
    cron: Cron,
    zone: Tz,
    every_hour: bool,
}

impl Timing {
    /// Five fields (minute, hour, day of month, month, day of week) or a name such as `@daily`, and an IANA zone.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self> {
        let zone: Tz = time_zone.parse().map_err(|_| {
            Error::invalid("time_zone", Detail::new("schedule.time_zone").with("value", time_zone))
        })?;
        let refused = |reason: &dyn std::fmt::Display| {
            Error::invalid("cron", Detail::new("schedule.cron").with("value", cron).with("reason", reason))
        };
        if cron.len() > 200 || cron.chars().any(char::is_control) {
            return Err(refused(&"it is too long, or not one line"));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(cron).map_err(|error| refused(&error))?;
        let every_hour = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
        Ok(Self { cron, zone, every_hour })
    }

    /// The same, refused as well when it is never due, such as on 30 February.
    pub fn parse_for_use(cron: &str, time_zone: &str, now: DateTime<Utc>) -> Result<(Self, DateTime<Utc>)> {
        let timing = Self::parse(cron, time_zone)?;
        let next = timing
            .next_after(now)
            .ok_or_else(|| Error::invalid("cron", Detail::new("schedule.never").with("value", cron)))?;
        Ok((timing, next))
    }

    /// The first time after this one. None: never.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&self.zone);
        if self.every_hour {
            let next = self.cron.find_next_occurrence(&local, false).ok()?;
            return Some(next.with_timezone(&Utc));
        }
        let mut wall = local.naive_local();
        // Only within the hour that comes twice is a time looked at that has been already.
        for _ in 0..1000 {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let next = self.first_at(wall)?;
            if next > after {
                return Some(next);
            }
        }
        None
    }

    /// The pattern in words, such as "At 02:30, on Monday."
    pub fn reading(&self) -> String {
        self.cron.describe()
    }

    /// A moment as clocks of the zone show it, such as "Mon 2026-03-30 02:30 CEST".
    pub fn on_the_wall(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%a %Y-%m-%d %H:%M %Z").to_string()
    }

    /// How many times it is due after the first and until the second, counted to a thousand.
    pub fn times_between(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> i32 {
        let times = std::iter::successors(self.next_after(after), |time| self.next_after(*time));
        let count = times.take_while(|time| *time <= until).take(1000).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    /// The first moment at which clocks on the wall show this, or the first time after it when none does.
    fn first_at(&self, mut wall: chrono::NaiveDateTime) -> Option<DateTime<Utc>> {
        // No zone ever left out more than a day.
        for _ in 0..=24 * 60 {
            match self.zone.from_local_datetime(&wall) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => {
                    return Some(time.with_timezone(&Utc));
                }
                LocalResult::None => wall = wall.checked_add_signed(Duration::minutes(1))?,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The times of one pattern after a start, until an end.
    fn times(cron: &str, zone: &str, start: &str, end: &str) -> Vec<String> {
        let timing = Timing::parse(cron, zone).unwrap();
        std::iter::successors(timing.next_after(at(start)), |time| timing.next_after(*time))
            .take_while(|time| *time <= at(end))
            .map(|time| time.format("%d %H:%M").to_string())
            .collect()
    }

    #[test]
    fn patterns_and_times_read_as_people_say_them() {
        let timing = Timing::parse("30 2 * * 1", "Europe/Brussels").unwrap();
        assert!(
            timing.reading().contains("02:30") && timing.reading().contains("Monday"),
            "{}",
            timing.reading()
        );
        assert_eq!(timing.on_the_wall(at("2026-03-30T00:30:00Z")), "Mon 2026-03-30 02:30 CEST");
    }

    /// Brussels goes from 02:00 to 03:00 on 29 March 2026 (01:00 UTC) and from 03:00 to 02:00 on 25 October (01:00
    /// UTC); Lord Howe moves by half an hour; Apia left out the whole of 30 December 2011. All results in UTC.
    #[test]
    fn clocks_that_are_set() {
        let spring = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        let brussels = "Europe/Brussels";
        type Row<'a> = (&'a str, &'a str, (&'a str, &'a str), &'a [&'a str]);
        let rows: [Row<'_>; 12] = [
            // Does not exist on the 29th: runs at 03:00, which is 01:00 UTC.
            ("30 2 * * *", brussels, spring, &["29 01:00", "30 00:30"]),
            // Three in the gap: once.
            ("0,20,40 2 * * *", brussels, spring, &["29 01:00", "30 00:00", "30 00:20", "30 00:40"]),
            // One in the gap and the one that it falls on: once.
            ("0 2,3 * * *", brussels, spring, &["29 01:00", "30 00:00", "30 01:00"]),
            ("59 1 * * *", brussels, spring, &["29 00:59", "29 23:59"]),
            ("0 3 * * *", brussels, spring, &["29 01:00", "30 01:00"]),
            // Comes twice on the 25th: the first time, 00:30 UTC, only.
            ("30 2 * * *", brussels, autumn, &["25 00:30", "26 01:30"]),
            ("0,30 2 * * *", brussels, autumn, &["25 00:00", "25 00:30", "26 01:00", "26 01:30"]),
            (
                "0 */2 * * *",
                brussels,
                ("2026-10-24T21:00:00Z", "2026-10-25T04:00:00Z"),
                &["24 22:00", "25 00:00", "25 03:00"],
            ),
            // Every hour: goes on through both.
            (
                "0 * * * *",
                brussels,
                ("2026-10-24T22:30:00Z", "2026-10-25T02:30:00Z"),
                &["24 23:00", "25 00:00", "25 01:00", "25 02:00"],
            ),
            (
                "*/30 * * * *",
                brussels,
                ("2026-03-29T00:10:00Z", "2026-03-29T02:10:00Z"),
                &["29 00:30", "29 01:00", "29 01:30", "29 02:00"],
            ),
            // 02:00 becomes 02:30 on 4 October 2026, at 15:30 UTC of the day before.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                ("2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z"),
                &["03 15:30", "04 15:15"],
            ),
            // A day that was left out counts for the first minute of the next.
            ("0 12 30 12 *", "Pacific/Apia", ("2011-12-01T00:00:00Z", "2012-12-01T00:00:00Z"), &["30 10:00"]),
        ];
        for (cron, zone, (start, end), expected) in rows {
            assert_eq!(times(cron, zone, start, end), expected, "{cron} in {zone}");
        }
    }

    /// Whatever second of the hour that comes twice one looks from, the answer lies ahead.
    #[test]
    fn the_next_time_is_always_later() {
        for cron in ["30 2 * * *", "*/7 2,3 * * *", "*/10 * * * *", "0 0 * * *", "0 9 L * *", "0 0 * * MON#1"]
        {
            let timing = Timing::parse(cron, "Europe/Brussels").unwrap();
            let mut time = at("2026-10-24T23:30:00Z");
            while time < at("2026-10-25T03:00:00Z") {
                let next = timing.next_after(time).unwrap();
                assert!(next > time, "{cron}: {next} after {time}");
                // Nothing is skipped: one looked at from in between is the same.
                let between = time + (next - time) / 2;
                assert_eq!(timing.next_after(between).unwrap(), next, "{cron} from {between}");
                time += Duration::seconds(97);
            }
        }
    }

    #[test]
    fn what_does_not_read_is_refused_at_its_field() {
        let field =
            |cron: &str, zone: &str| match Timing::parse_for_use(cron, zone, at("2026-01-01T00:00:00Z")) {
                Err(Error::Invalid { field, detail }) => (field, detail.code.into_owned()),
                other => panic!("{cron} in {zone}: {other:?}"),
            };
        for cron in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "0 24 * * *",
            "0 0 0 * *",
            "0 0 * * 8",
            "a b c d e",
            "@reboot",
            "0 0 * * *\n1",
        ] {
            assert_eq!(field(cron, "UTC"), ("cron".into(), "schedule.cron".into()), "{cron:?}");
        }
        assert_eq!(field(&"0,".repeat(200), "UTC").1, "schedule.cron");
        for cron in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
            assert_eq!(field(cron, "UTC"), ("cron".into(), "schedule.never".into()), "{cron}");
        }
        for zone in ["", "Mars/Olympus", "UTC+1", "europe/brussels"] {
            assert_eq!(
                field("0 0 * * *", zone),
                ("time_zone".into(), "schedule.time_zone".into()),
                "{zone:?}"
            );
        }
        for cron in ["@daily", "@hourly", "0 0 29 2 *", "*/15 8-18 * * MON-FRI"] {
            Timing::parse_for_use(cron, "America/New_York", at("2026-01-01T00:00:00Z")).unwrap();
        }
    }

    #[test]
    fn missed_times_are_counted() {
        let timing = Timing::parse("0 * * * *", "UTC").unwrap();
        let due = at("2026-01-01T05:00:00Z");
        assert_eq!(timing.times_between(due, due), 0);
        assert_eq!(timing.times_between(due, at("2026-01-01T05:59:59Z")), 0);
        assert_eq!(timing.times_between(due, at("2026-01-01T15:00:00Z")), 10);
        assert_eq!(timing.times_between(due, at("2029-01-01T15:00:00Z")), 1000);
    }
}
