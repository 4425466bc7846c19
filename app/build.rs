//! Compiles `locales/` into the module `i18n`: a namespace per file of `locales/en`, keys checked where they are
//! used.
//!
//! This is what `leptos_i18n_build` does, without its exporter of ICU data, which would add a hundred crates to
//! every build and which we do not use.

use leptos_i18n_parser::parse_locales::{
    options::{Config, ParseOptions},
    parse_locales,
};
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../locales");
    let mut namespaces = Vec::new();
    for entry in fs::read_dir("../locales/en")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            namespaces.push(name.to_owned());
        }
    }
    namespaces.sort();
    // Keys with parameters as strings, not only as views: titles and labels have them too.
    let options = ParseOptions::default().interpolate_display(true);
    let config = Config::new("en")
        .and_then(|config| config.add_namespaces(namespaces))
        .map_err(|error| error.to_string())?
        .locales_path("../locales")
        .parse_options(options);
    let locales = parse_locales(None, config).map_err(|error| error.to_string())?;
    let code = leptos_i18n_codegen::gen_code(&locales, None, false, None, false)
        .map_err(|error| error.to_string())?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    fs::write(out.join("i18n.rs"), code.to_string())?;
    Ok(())
}
