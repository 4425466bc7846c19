//! Quoting for statements that take no parameters (CREATE ROLE, CREATE DATABASE). Their texts are ours, made of
//! uuids and checked names; quoting is the second fence.

/// A quoted identifier.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", without_nul(name).replace('"', "\"\""))
}

/// A quoted text, safe whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    format!(" E'{}'", without_nul(text).replace('\\', "\\\\").replace('\'', "''"))
}

/// PostgreSQL's texts end at a NUL byte: one inside would cut the closing quote off.
fn without_nul(text: &str) -> String {
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::testing::TestDb;
    use sqlx::{Executor, Row};

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b\\"), " E'a''b\\\\'");
        assert_eq!(identifier("a\0\";"), "\"a\"\";\"");
    }

    #[tokio::test]
    async fn threat_01_hostile_text_stays_text_in_postgres() {
        let db = TestDb::new().await;
        let hostile = [
            "'; drop table x; --",
            "\\'; select 1; --",
            "\"; select 1; --",
            "$$",
            "a\nb",
            "\\",
            "'",
            "\"",
            "ü",
            " ",
        ];
        for strings in ["on", "off"] {
            let mut conn = db.owner.acquire().await.unwrap();
            conn.execute(format!("set standard_conforming_strings = {strings}").as_str()).await.unwrap();
            for text in hostile {
                let sql = format!("select {} as {}", literal(text), identifier(text));
                let row = conn.fetch_one(sql.as_str()).await.unwrap();
                assert_eq!(row.get::<String, _>(0), text);
                assert_eq!(row.columns()[0].name(), text);
            }
        }
        use sqlx::Column;
    }
}
