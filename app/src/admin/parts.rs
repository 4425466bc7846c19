//! What the platform's pages share.

use crate::{
    error::Fault,
    ui::{Refusal, Toasts},
};
use leptos::{prelude::*, server_fn::ServerFn};
use leptos_meta::Title;

/// Title, one line of context, and one thing to do.
#[component]
pub fn AdminPage(
    #[prop(into)] title: String,
    #[prop(into)] about: String,
    #[prop(optional, into)] action: ViewFn,
    children: Children,
) -> impl IntoView {
    view! {
        <Title text=title.clone()/>
        <div class="page">
            <header class="page-head">
                <div>
                    <h1>{title}</h1>
                    <p class="muted">{about}</p>
                </div>
                {action.run()}
            </header>
            {children()}
        </div>
    }
    .into_any()
}

/// What came of a row's form: a few words when it was done, the reason when it was refused. The reason also comes back
/// to who has no script. What a dialog asks says both itself.
#[component]
pub fn Outcome<S>(action: ServerAction<S>, #[prop(into)] done: String, then: Callback<()>) -> impl IntoView
where
    S: ServerFn<Error = Fault> + Clone + Send + Sync + 'static,
    S::Output: Clone + Send + Sync + 'static,
{
    let value = action.value();
    Effect::new(move |_| match value.with(|value| value.as_ref().map(Result::is_ok)) {
        Some(true) => {
            Toasts::get().done(done.clone());
            then.run(());
        }
        // Somebody else may have been faster: then this shows it.
        Some(false) => then.run(()),
        None => {}
    });
    move || {
        let refused = value.with(|value| value.as_ref().and_then(|value| value.as_ref().err().cloned()));
        refused.map(|fault| view! { <Refusal error=fault.0/> })
    }
}
