//! The document around the app. The stylesheet is a plain link here: as a component inside the app it breaks the
//! hydration of split pages.

use crate::{app::App, say, ui::theme_of_request};
use leptos::prelude::*;
use leptos_meta::{HashedStylesheet, MetaTags};

/// Fonts of the first paint; the others come when a page needs them.
const FONTS: [&str; 2] =
    ["/fonts/inter-latin-wght-normal.woff2", "/fonts/jetbrains-mono-latin-wght-normal.woff2"];

pub fn shell(options: LeptosOptions) -> impl IntoView {
    view! {
        <!DOCTYPE html>
        <html lang="en" data-theme=theme_of_request()>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="robots" content="noindex"/>
                <meta name="ops-build" content=build()/>
                <meta name="application-name" content=say!(frame.product)/>
                <link rel="icon" href="/static/icon.svg" type="image/svg+xml"/>
                {FONTS
                    .map(|href| view! { <link rel="preload" href=href r#as="font" r#type="font/woff2" crossorigin/> })
                    .collect_view()}
                <HashedStylesheet options=options.clone() id="leptos"/>
                // Before everything that fetches.
                <script src="/static/retry.js" nonce=leptos::nonce::use_nonce()></script>
                <HydrationScripts options/>
                <MetaTags/>
            </head>
            <body>
                <App/>
            </body>
        </html>
    }
}

/// The server's build, which the page compares with what the live connection says later.
fn build() -> Option<String> {
    #[cfg(feature = "ssr")]
    return use_context::<crate::state::AppState>().map(|state| state.site.build.clone());
    #[cfg(not(feature = "ssr"))]
    None
}
