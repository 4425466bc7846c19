//! The tables as DBML (dbml.org): all there is, for tools and for people who read SQL.

use super::read::{Column, ForeignKey, Index, Table};
use std::fmt::Write;

pub fn write(tables: &[Table]) -> String {
    let mut out = String::from(
        "// Written by `cargo xtask catalogue` from a migrated database. Do not edit: change a migration.\n\
         // Partitions are left out; they are their table.\n\n\
         Project odooops {\n  database_type: 'PostgreSQL'\n}\n",
    );
    for table in tables {
        let _ = writeln!(out, "\nTable {} {{", name(&table.name));
        let key = table.key();
        for column in &table.columns {
            let _ = writeln!(out, "  {}", line(column, key == [column.name.as_str()]));
        }
        let indexes: Vec<_> =
            table.indexes.iter().filter(|index| !index.is_primary || key.len() > 1).collect();
        if !indexes.is_empty() {
            let lines: Vec<_> = indexes.iter().map(|index| format!("    {}\n", entry(index))).collect();
            let _ = write!(out, "\n  indexes {{\n{}  }}\n", lines.concat());
        }
        if !table.checks.is_empty() {
            let rules =
                table.checks.iter().map(|c| format!("    `{}` [name: {}]\n", c.rule, quoted(&c.name)));
            let _ = write!(out, "\n  checks {{\n{}  }}\n", rules.collect::<String>());
        }
        let partitioned = table.partitioned.then(|| "One partition a day.".to_owned());
        let note: Vec<_> = table.comment.iter().cloned().chain(partitioned).collect();
        if !note.is_empty() {
            let _ = write!(out, "\n  Note: {}\n", quoted(&note.join(" ")));
        }
        out.push_str("}\n");
    }
    let references = tables.iter().flat_map(|t| t.foreign_keys.iter().map(|key| reference(t, key)));
    let _ = write!(out, "\n{}", references.collect::<String>());
    out
}

fn name(table: &str) -> String {
    format!("ops.{table}")
}

fn line(column: &Column, is_key: bool) -> String {
    let mut settings = Vec::new();
    if is_key {
        settings.push("pk".to_owned());
    }
    if column.not_null {
        settings.push("not null".to_owned());
    }
    if let Some(default) = &column.default {
        settings.push(format!("default: `{default}`"));
    }
    if let Some(comment) = &column.comment {
        settings.push(format!("note: {}", quoted(comment)));
    }
    let kind = if column.kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        column.kind.clone()
    } else {
        format!("\"{}\"", column.kind)
    };
    let settings = if settings.is_empty() { String::new() } else { format!(" [{}]", settings.join(", ")) };
    format!("\"{}\" {kind}{settings}", column.name)
}

fn entry(index: &Index) -> String {
    let parts: Vec<_> = index
        .parts
        .iter()
        .map(|part| if part.is_column { part.text.clone() } else { format!("`{}`", part.text) })
        .collect();
    let mut settings = vec![];
    if index.is_primary {
        settings.push("pk".to_owned());
    } else if index.is_unique {
        settings.push("unique".to_owned());
    }
    settings.push(format!("name: {}", quoted(&index.name)));
    if index.method != "btree" {
        settings.push(format!("type: {}", index.method));
    }
    let mut notes = Vec::new();
    notes.extend(index.parts.iter().filter(|p| p.descending).map(|p| format!("{} descending", p.text)));
    notes.extend(index.nulls_alike.then(|| "nulls are alike".to_owned()));
    notes.extend(index.only_where.as_ref().map(|rule| format!("where {rule}")));
    if !notes.is_empty() {
        settings.push(format!("note: {}", quoted(&notes.join("; "))));
    }
    format!("({}) [{}]", parts.join(", "), settings.join(", "))
}

fn reference(table: &Table, key: &ForeignKey) -> String {
    let side = |table: &str, columns: &[String]| match columns {
        [one] => format!("{}.{one}", name(table)),
        several => format!("{}.({})", name(table), several.join(", ")),
    };
    format!(
        "Ref {}: {} > {} [delete: {}]\n",
        key.name,
        side(&table.name, &key.columns),
        side(&key.table, &key.table_columns),
        key.on_delete
    )
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
