//! `strftime_now` of chat templates: dates in UTC.

/// Days since 1970-01-01 as (year, month 1–12, day 1–31); Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, usize, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    (year, month as usize, doy - (153 * mp + 2) / 5 + 1)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Formats seconds since 1970 as C's `strftime` does; unknown conversions stay as written.
pub(super) fn strftime(format: &str, seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let month_name = MONTHS[month - 1];
    let day_name = DAYS[(days + 4).rem_euclid(7) as usize];
    let mut out = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        out.push_str(&rest[..start]);
        let spec = &rest[start..];
        let plain = spec[1..].strip_prefix('-');
        let code = plain.unwrap_or(&spec[1..]).chars().next();
        let number = |n: i64| {
            if plain.is_some() { n.to_string() } else { format!("{n:02}") }
        };
        let hour = second / 3600;
        let text = match code {
            Some('Y') => year.to_string(),
            Some('y') => number(year.rem_euclid(100)),
            Some('m') => number(month as i64),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(second / 60 % 60),
            Some('S') => number(second % 60),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.into(),
            Some('B') => month_name.into(),
            Some('b') => month_name[..3].into(),
            Some('A') => day_name.into(),
            Some('a') => day_name[..3].into(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('%') => "%".into(),
            _ => {
                out.push('%');
                rest = &spec[1..];
                continue;
            }
        };
        out.push_str(&text);
        rest = &spec[1 + usize::from(plain.is_some()) + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn formats_like_c() {
        let moment = 1_709_210_096; // 2024-02-29 12:34:56 UTC, a Thursday
        assert_eq!(strftime("%Y-%m-%d %H:%M:%S", moment), "2024-02-29 12:34:56");
        assert_eq!(strftime("%d %b %Y, %A %-I%p", moment), "29 Feb 2024, Thursday 12PM");
        assert_eq!(strftime("%B %-d %y %F 100%% %q %", 0), "January 1 70 1970-01-01 100% %q %");
        assert_eq!(strftime("%Y-%m-%d", -86_400), "1969-12-31");
    }
}
