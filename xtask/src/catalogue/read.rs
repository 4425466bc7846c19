//! The tables of schema `ops` as PostgreSQL's own catalogue has them. Partitions are left out: they are their table.

use crate::postgres::Cluster;
use anyhow::{Context, Result};
use serde_json::Value;

pub struct Table {
    pub name: String,
    pub comment: Option<String>,
    pub partitioned: bool,
    pub columns: Vec<Column>,
    pub indexes: Vec<Index>,
    pub foreign_keys: Vec<ForeignKey>,
    pub checks: Vec<Check>,
}

pub struct Column {
    pub name: String,
    /// In its short form: `timestamptz`.
    pub kind: String,
    pub not_null: bool,
    pub default: Option<String>,
    pub comment: Option<String>,
}

pub struct Index {
    pub name: String,
    pub is_primary: bool,
    pub is_unique: bool,
    pub nulls_alike: bool,
    pub parts: Vec<Part>,
    pub method: String,
    pub only_where: Option<String>,
}

pub struct Part {
    pub text: String,
    pub is_column: bool,
    pub descending: bool,
}

pub struct ForeignKey {
    pub name: String,
    pub columns: Vec<String>,
    pub table: String,
    pub table_columns: Vec<String>,
    pub on_delete: String,
}

pub struct Check {
    pub name: String,
    pub rule: String,
}

impl Table {
    /// Columns of the primary key.
    pub fn key(&self) -> Vec<&str> {
        let primary = self.indexes.iter().find(|index| index.is_primary);
        primary.map(|index| index.parts.iter().map(|part| part.text.as_str()).collect()).unwrap_or_default()
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

pub fn tables(cluster: &Cluster) -> Result<Vec<Table>> {
    // Without a search path, every name of the schema is written with it.
    let json = cluster.query(&format!("set search_path = pg_catalog; {}", include_str!("read.sql")))?;
    let value: Value = serde_json::from_str(&json).context("the catalogue's answer")?;
    list(&value).map(table).collect()
}

fn table(value: &Value) -> Result<Table> {
    Ok(Table {
        name: text(value, "name")?,
        comment: optional(value, "comment"),
        partitioned: truth(value, "partitioned"),
        columns: list(&value["columns"]).map(column).collect::<Result<_>>()?,
        indexes: list(&value["indexes"]).map(index).collect::<Result<_>>()?,
        foreign_keys: list(&value["foreign_keys"]).map(foreign_key).collect::<Result<_>>()?,
        checks: list(&value["checks"])
            .map(|check| Ok(Check { name: text(check, "name")?, rule: one_line(&text(check, "rule")?) }))
            .collect::<Result<_>>()?,
    })
}

fn column(value: &Value) -> Result<Column> {
    Ok(Column {
        name: text(value, "name")?,
        kind: short(&text(value, "type")?),
        not_null: truth(value, "not_null"),
        default: optional(value, "default"),
        comment: optional(value, "comment"),
    })
}

fn index(value: &Value) -> Result<Index> {
    let part = |part: &Value| {
        Ok(Part {
            text: text(part, "text")?,
            is_column: truth(part, "is_column"),
            descending: truth(part, "descending"),
        })
    };
    Ok(Index {
        name: text(value, "name")?,
        is_primary: truth(value, "is_primary"),
        is_unique: truth(value, "is_unique"),
        nulls_alike: truth(value, "nulls_alike"),
        parts: list(&value["parts"]).map(part).collect::<Result<_>>()?,
        method: text(value, "method")?,
        only_where: optional(value, "only_where"),
    })
}

fn foreign_key(value: &Value) -> Result<ForeignKey> {
    let names = |value: &Value| list(value).filter_map(Value::as_str).map(str::to_owned).collect();
    Ok(ForeignKey {
        name: text(value, "name")?,
        columns: names(&value["columns"]),
        table: text(value, "table")?,
        table_columns: names(&value["table_columns"]),
        on_delete: text(value, "on_delete")?,
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}

fn optional(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(one_line)
}

fn truth(value: &Value, name: &str) -> bool {
    value[name].as_bool().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn short(kind: &str) -> String {
    kind.replace("timestamp with time zone", "timestamptz").replace("double precision", "float8")
}
