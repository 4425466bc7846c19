//! Every visible string: `say!(board.title)` is the text of that key in `locales/`, in the language of the page.
//!
//! Keys and their parameters are checked at compile time. The language is fixed while a page lives (changing it
//! loads the page again), so that strings are plain values and not signals.

#[expect(
    deprecated,
    reason = "its successor, a build script, compiles the whole of ICU's data exporter to read one file"
)]
mod generated {
    leptos_i18n::load_locales!();
}

pub use generated::i18n::*;

use leptos::prelude::use_context;

/// The page's language, provided as context by the shell once there are several.
pub fn locale() -> Locale {
    use_context::<Locale>().unwrap_or_default()
}

/// The text of a key, with its parameters: `say!(board.moved, branch = name)`.
#[macro_export]
macro_rules! say {
    ($($key:tt)*) => {{
        use $crate::i18n::*;
        leptos_i18n::td_string!($crate::i18n::locale(), $($key)*)
    }};
}
