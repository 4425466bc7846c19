//! The form that makes a project. Opened by `/?new`, so that it works without script.

use super::api::CreateProject;
use crate::{
    error::Fault,
    say,
    ui::{Dialog, Glyph, Icon},
    words,
};
use leptos::{form::ActionForm, prelude::*};
use leptos_router::{NavigateOptions, hooks::use_navigate};
use odooops::{Error, project::Slug};

#[component]
pub fn CreateProjectDialog(on_close: Callback<()>) -> impl IntoView {
    let create = ServerAction::<CreateProject>::new();
    let navigate = use_navigate();
    Effect::new(move |_| {
        if let Some(Ok(slug)) = create.value().get() {
            navigate(&format!("/projects/{slug}"), NavigateOptions::default());
        }
    });
    let error = Memo::new(move |_| create.value().get().and_then(Result::err));
    let of_field = move |name: &'static str| {
        move || {
            error.get().and_then(|Fault(error)| match &error {
                Error::Invalid { field, .. } if field == name => Some(words::sentence(&error)),
                _ => None,
            })
        }
    };
    let elsewhere = move || {
        let Fault(error) = error.get()?;
        let at_field = matches!(&error, Error::Invalid { field, .. } if ["name", "slug", "remote_url"].contains(&field.as_str()));
        (!at_field).then(|| words::sentence(&error))
    };
    let slug = RwSignal::new(String::new());
    let typed = RwSignal::new(false);
    let suggest = move |event| {
        if !typed.get_untracked() {
            slug.set(suggestion(&event_target_value(&event)));
        }
    };
    view! {
        <Dialog title=say!(project.new) on_close close_href="/">
            <ActionForm action=create attr:class="form" attr:data-testid="create-project">
                <label class="field">
                    <span>{say!(project.name)}</span>
                    <input name="name" required maxlength="120" autocomplete="off" autofocus on:input=suggest/>
                    <Hint hint=say!(project.name_hint) error=Signal::derive(of_field("name"))/>
                </label>
                <label class="field">
                    <span>{say!(project.slug)}</span>
                    <input name="slug" class="mono" required maxlength=Slug::MAX.to_string() autocomplete="off"
                        spellcheck="false" prop:value=slug
                        on:input=move |event| { typed.set(true); slug.set(event_target_value(&event)) }/>
                    <Hint hint=say!(project.slug_hint) error=Signal::derive(of_field("slug"))/>
                </label>
                <label class="field">
                    <span>{say!(project.remote)}</span>
                    <input name="remote_url" class="mono" autocomplete="off" spellcheck="false" inputmode="url"/>
                    <Hint hint=say!(project.remote_hint) error=Signal::derive(of_field("remote_url"))/>
                </label>
                {move || elsewhere().map(|text| view! {
                    <p class="warning" role="alert"><Glyph icon=Icon::TriangleAlert/>{text}</p>
                })}
                <footer class="dialog-foot">
                    <a class="button" href="/" on:click=move |event| { event.prevent_default(); on_close.run(()) }>
                        {say!(ui.cancel)}
                    </a>
                    <button class="button primary" type="submit" disabled=move || create.pending().get()>
                        {move || if create.pending().get() { say!(project.creating) } else { say!(project.create) }}
                    </button>
                </footer>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}

/// What belongs into a field, or what is wrong with what is in it.
#[component]
fn Hint(hint: &'static str, error: Signal<Option<String>>) -> impl IntoView {
    move || match error.get() {
        Some(error) => view! { <small class="wrong" role="alert">{error}</small> }.into_any(),
        None => view! { <small>{hint}</small> }.into_any(),
    }
}

/// An address made of a name.
fn suggestion(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= Slug::MAX {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_are_slugs() {
        for (name, slug) in [("ACME Corp.", "acme-corp"), ("  Größe & Co ", "gr-e-co"), ("19", "19")] {
            assert_eq!(suggestion(name), slug);
            assert!(Slug::parse(slug).is_ok());
        }
        assert!(Slug::parse(&suggestion(&"ab ".repeat(40))).is_ok());
        assert_eq!(suggestion("..."), "");
    }
}
