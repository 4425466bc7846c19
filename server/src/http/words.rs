//! Words for API answers and the sign-in page, which stand outside the console's pages.

use odooops::Error;

pub const SIGN_IN_BUTTON: &str = "Sign in";
pub const SIGN_IN_HINT: &str = "This link signs you in once.";
pub const SIGN_IN_HOW: &str = "To sign in, make a link on the server and open it here:";

/// One sentence for people. Programs read the code.
pub fn of(error: &Error) -> String {
    match error {
        Error::Unauthenticated => "Sign in first, or send a valid token.".to_owned(),
        Error::Internal { incident } => {
            format!("Something went wrong on our side. The log has the cause under incident {incident}.")
        }
        Error::Forbidden { detail }
        | Error::NotFound { detail }
        | Error::Conflict { detail }
        | Error::Invalid { detail, .. }
        | Error::Unavailable { detail } => sentence(&detail.code)
            .map_or_else(|| format!("The request was refused: {}.", detail.code), str::to_owned),
    }
}

fn sentence(code: &str) -> Option<&'static str> {
    Some(match code {
        "access.platform_admin" => "Only platform administrators may do this.",
        "access.role" | "access.forbidden" => "Your role in this project does not allow this.",
        "branch" | "branch.unknown" => "There is no such branch.",
        "branch.no_commit" => "The branch has no commit yet.",
        "branch.second_production" => "There is a production branch already.",
        "database" => "The database does not answer. Try again in a moment.",
        "entry" => "There is nothing here.",
        "environment" => "There is no such environment.",
        "environment.building" => "The environment is not in a state that allows this.",
        "environment.production_by_branch" => {
            "Production is built from its branch: move a branch to production."
        }
        "not_found" => "There is no such thing.",
        "project" => "There is no such project.",
        "project.name_length" => "A project's name has 1 to 120 characters.",
        "project.slug_taken" => "Another project has this name in its address already.",
        "request.body" | "request.path" | "request.query" => "The request could not be read.",
        "request.foreign_origin" => {
            "The request came from another site. Open the console under the address it is set up with."
        }
        "request.too_many_sockets" => "Too many pages are open. Close some and try again.",
        "run" => "There is no such run.",
        "run.already_finished" => "The run has finished already.",
        "sign_in.link_spent" => "This link was used already, or it is older than 15 minutes.",
        "slug.characters" => "Use lower-case letters, digits and single dashes.",
        "slug.length" => "Use 1 to 40 characters.",
        "slug.uuid" => "This reads as an id. Choose a name.",
        "token" => "There is no such token.",
        "token.name_length" => "A token's name has 1 to 100 characters.",
        _ => return None,
    })
}
