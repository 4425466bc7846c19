//! Reads apt's own list of sources: the Odoo image is built from the mirror this machine already uses, so that no
//! address of anybody's needs to be written down here.

use std::path::Path;

/// The archives this machine installs from, in the order apt reads them, each once.
pub fn mirrors() -> Vec<String> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut parts: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let uris = match file.extension().and_then(|e| e.to_str()) {
            Some("sources") => deb822(&text),
            Some("list") => one_line(&text),
            _ => continue,
        };
        for uri in uris {
            if !found.contains(&uri) {
                found.push(uri);
            }
        }
    }
    found
}

/// `deb [options] URI suite component...`
fn one_line(text: &str) -> Vec<String> {
    text.lines().filter_map(one_line_uri).collect()
}

fn one_line_uri(line: &str) -> Option<String> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with(char::is_whitespace) {
        return None; // deb-src
    }
    let rest = rest.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    usable(rest.split_whitespace().next()?)
}

/// Paragraphs of `Field: value`, where an indented line continues the field above.
fn deb822(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in paragraphs(text) {
        let field = |name: &str| {
            let values = paragraph.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.as_str()).next_back().unwrap_or_default()
        };
        let disabled = matches!(field("Enabled"), "no" | "false" | "0");
        if !disabled && field("Types").split_whitespace().any(|kind| kind == "deb") {
            found.extend(field("URIs").split_whitespace().filter_map(usable));
        }
    }
    found
}

fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.trim().is_empty() {
            all.push(Vec::new());
        } else if let Some(fields) = all.last_mut() {
            match line.split_once(':') {
                Some((key, value)) if !line.starts_with(char::is_whitespace) => {
                    fields.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                _ => {
                    if let Some((_, value)) = fields.last_mut() {
                        *value = format!("{value} {}", line.trim()).trim().to_owned();
                    }
                }
            }
        }
    }
    all
}

/// debootstrap and the chroot can use it: not a CD, not a file of this machine.
fn usable(uri: &str) -> Option<String> {
    let plain = uri.starts_with("http://") || uri.starts_with("https://");
    plain.then(|| uri.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources_with_options_comments_and_sources_of_sources() {
        let text = "# deb http://old.invalid/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/x] https://mirror.invalid/debian/ trixie main # fast\n\
                    deb-src https://mirror.invalid/debian trixie main\n\
                    deb cdrom:[Debian 13]/ trixie main\n\
                    \tdeb\thttp://other.invalid/debian trixie main\n";
        assert_eq!(one_line(text), ["https://mirror.invalid/debian", "http://other.invalid/debian"]);
    }

    #[test]
    fn deb822_sources_with_several_uris_and_paragraphs() {
        let text = "Types: deb deb-src\n\
                    # a comment\n\
                    URIs: http://a.invalid/debian\n http://b.invalid/debian\n\
                    Suites: bookworm bookworm-updates\n\
                    \n\
                    types: deb-src\nuris: http://sources.invalid/debian\n\
                    \n\
                    Enabled: no\nTypes: deb\nURIs: http://off.invalid/debian\n\
                    \n\
                    Types: deb\nURIs: file:/srv/debian http://c.invalid/security/\n";
        let expected = ["http://a.invalid/debian", "http://b.invalid/debian", "http://c.invalid/security"];
        assert_eq!(deb822(text), expected);
    }

    #[test]
    fn an_inline_key_does_not_confuse_the_reader() {
        let text = "Types: deb\nURIs: http://a.invalid/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n";
        assert_eq!(deb822(text), ["http://a.invalid/debian"]);
    }
}
