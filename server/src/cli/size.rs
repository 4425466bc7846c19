//! Sizes as people write them: `512MiB`, `2GB`, `1073741824`.

/// In bytes. The units are those of 1024 (`GiB`, `G`) and of 1000 (`GB`).
pub fn parse(text: &str) -> Result<i64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: Option<i64> = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        "t" | "tib" => Some(1 << 40),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "tb" => Some(1_000_000_000_000),
        _ => None,
    };
    let bytes =
        number.parse::<i64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| "write a size such as 512MiB or 10GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units_and_no_surprises() {
        let good = [
            ("0", 0),
            ("512", 512),
            ("2GiB", 2 << 30),
            ("2g", 2 << 30),
            ("3 MB", 3_000_000),
            ("1TiB", 1 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GiB", "-1", "1.5GiB", "2 apples", "9999999999999GiB", "\u{664}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
