use super::{
    CliError, Client, labels,
    output::{Output, moment, or_dash},
};
use crate::http::{LabelsRequest, ProjectRequest};
use clap::Subcommand;
use odooops::project::{ProjectSummary, Slug};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Adds a project with a repository to push to, or one that follows an existing repository.
    Create {
        /// Lower-case letters, digits and dashes; the project's name in addresses.
        slug: String,
        /// The name for people. The slug, when left out.
        #[arg(long)]
        name: Option<String>,
        /// An existing Git repository to fetch from.
        #[arg(long, value_name = "GIT_URL")]
        remote: Option<String>,
    },
    /// The projects.
    List,
    /// One project, by slug or id.
    Show { project: String },
    /// What a host must have to do the project's runs, those included that wait.
    Labels {
        project: String,
        #[command(flatten)]
        change: labels::Change,
    },
}

pub async fn run(command: Command, client: &Client, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Create { slug, name, remote } => {
            let slug = Slug::parse(&slug).map_err(|error| CliError::Refused(Box::new((&error).into())))?;
            let request = ProjectRequest { slug, name, remote_url: remote };
            let project: ProjectSummary = client.post("/projects", &request).await?;
            output.show(&project, text)?;
        }
        Command::List => {
            let projects: Vec<ProjectSummary> = client.get("/projects").await?;
            let columns = ["SLUG", "NAME", "ODOO", "BRANCHES", "RUNNING", "ACTIVE RUNS", "LAST ACTIVITY"];
            output.list(&projects, &columns, |p| {
                vec![
                    p.slug.to_string(),
                    p.name.clone(),
                    p.odoo_series.clone(),
                    p.branches.to_string(),
                    p.running_environments.to_string(),
                    p.active_runs.to_string(),
                    moment(p.last_activity_at),
                ]
            })?;
        }
        Command::Show { project } => {
            let project: ProjectSummary = client.get(&format!("/projects/{}", segment(&project))).await?;
            output.show(&project, text)?;
        }
        Command::Labels { project, change } => {
            let path = format!("/projects/{}", segment(&project));
            let project: ProjectSummary = match change.labels() {
                Some(labels) => client.post(&format!("{path}/labels"), &LabelsRequest { labels }).await?,
                None => client.get(&path).await?,
            };
            output.show(&project, |p| match p.required_labels.as_slice() {
                [] => format!("Runs of {} go to any host.", p.slug),
                labels => format!("Runs of {} go to hosts with {}.", p.slug, labels::text(labels)),
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn text(p: &ProjectSummary) -> String {
    format!(
        "{} ({})\nid:           {}\nOdoo:         {}\nrepository:   {}\nbranches:     {}\nenvironments: {} running\n\
         runs:         {} active\nlabels:       {}",
        p.name,
        p.slug,
        p.id,
        p.odoo_series,
        or_dash(p.remote_url.as_ref().or(Some(&"its own".to_owned()))),
        p.branches,
        p.running_environments,
        p.active_runs,
        labels::text(&p.required_labels)
    )
}

/// Text as one segment of a path, whatever it holds.
pub fn segment(text: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    let mut out = String::new();
    for byte in text.bytes() {
        if keep(byte) { out.push(char::from(byte)) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    // Alone, dots would climb.
    match out.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn threat_01_a_name_stays_one_segment_of_the_path() {
        assert_eq!(segment("demo"), "demo");
        assert_eq!(segment("../../x?y#z%2f"), "..%2F..%2Fx%3Fy%23z%252f");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("a b\n"), "a%20b%0A");
    }
}
