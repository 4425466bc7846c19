use crate::{codec::Json, error::Fault};
use leptos::prelude::*;
use odooops::user::Me;

/// Who is signed in. Strangers get None, so that pages can be made for them too.
#[server(name = WhoAmI, prefix = "/api/console", endpoint = "me", output = Json)]
pub async fn me() -> Result<Option<Me>, Fault> {
    Ok(crate::request::me())
}
