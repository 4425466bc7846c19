//! A question before something that cannot be taken back. The question is part of the address, so that it can be
//! answered without script.

use super::{Dialog, Glyph, Icon, Toasts};
use crate::{error::Fault, say, words::sentence};
use leptos::{
    form::ActionForm,
    prelude::*,
    server_fn::{Http, ServerFn, client::Client, codec::PostUrl, request::ClientReq},
};
use leptos_router::hooks::use_query_map;
use serde::de::DeserializeOwned;
use web_sys::FormData;

/// What is asked about, as the address says it.
pub fn asked_by_address<T: std::str::FromStr>(name: &str) -> Option<T> {
    use_query_map().read_untracked().get(name)?.parse().ok()
}

/// A link that asks: by its address without script, by the signal with it.
#[component]
pub fn Ask<T: Clone + Send + Sync + 'static>(
    asked: RwSignal<Option<T>>,
    about: T,
    #[prop(into)] href: String,
    /// What it is called where the words alone do not say about what.
    #[prop(optional, into)]
    label: Option<String>,
    #[prop(optional, into)] title: Option<String>,
    #[prop(optional)] small: bool,
    children: Children,
) -> impl IntoView {
    let ask = move |event: web_sys::MouseEvent| {
        event.prevent_default();
        asked.set(Some(about.clone()));
    };
    view! {
        <a class="button" class:small-button=small href=href aria-label=label title=title on:click=ask>{children()}</a>
    }
    .into_any()
}

/// The question. Done, it closes with a few words; refused, it stays with what was typed and says why. Its action is
/// made together with it: another question knows nothing of this one's refusal.
#[component]
pub fn Question<S, P>(
    #[prop(into)] title: String,
    action: ServerAction<S>,
    #[prop(into)] yes: String,
    /// The few words.
    #[prop(into)]
    done: String,
    /// The page without the question.
    #[prop(into)]
    page: String,
    testid: &'static str,
    on_close: Callback<()>,
    /// After it was done, before it closes.
    then: Callback<()>,
    children: Children,
) -> impl IntoView
where
    S: DeserializeOwned
        + ServerFn<Error = Fault, Protocol = Http<PostUrl, P>>
        + Clone
        + Send
        + Sync
        + 'static,
    P: 'static,
    S::Output: Clone + Send + Sync + 'static,
    S::Client: Client<Fault>,
    <<S::Client as Client<Fault>>::Request as ClientReq<Fault>>::FormData: From<FormData>,
{
    let then = Callback::new(move |()| {
        Toasts::get().done(done.clone());
        then.run(());
        on_close.run(());
    });
    view! {
        <Dialog title on_close close_href=page.clone()>
            <ActionForm action attr:data-testid=testid>
                {children()}
                <Told action then/>
                <Answer yes page on_close pending=action.pending()/>
            </ActionForm>
        </Dialog>
    }
    .into_any()
}

/// Why a dialog's form was refused, said in the dialog; `then` when it was not. The reason also comes back to who has
/// no script.
#[component]
pub fn Told<S>(action: ServerAction<S>, then: Callback<()>) -> impl IntoView
where
    S: ServerFn<Error = Fault> + Clone + Send + Sync + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    let value = action.value();
    Effect::new(move |_| {
        if value.with(|value| matches!(value, Some(Ok(_)))) {
            then.run(());
        }
    });
    move || {
        let refused = value.with(|value| value.as_ref().and_then(|value| value.as_ref().err().cloned()));
        refused.map(|fault| view! { <Warning text=sentence(&fault.0)/> })
    }
}

/// What went wrong in a dialog, read out at once.
#[component]
pub fn Warning(#[prop(into)] text: String) -> impl IntoView {
    view! { <p class="warning" role="alert" data-testid="refusal"><Glyph icon=Icon::TriangleAlert/>{text}</p> }
}

/// No and yes, below a dialog's form.
#[component]
pub fn Answer(
    #[prop(into)] yes: String,
    /// The page without the dialog.
    #[prop(into)]
    page: String,
    on_close: Callback<()>,
    #[prop(into)] pending: Signal<bool>,
) -> impl IntoView {
    view! {
        <footer class="dialog-foot">
            <a class="button" href=page on:click=move |event| { event.prevent_default(); on_close.run(()) }>
                {say!(ui.cancel)}
            </a>
            <button class="button primary" type="submit" disabled=pending>{yes}</button>
        </footer>
    }
    .into_any()
}
