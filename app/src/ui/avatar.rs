use leptos::prelude::*;

/// A person as two letters. Names on the board are beside it, so readers skip the letters.
#[component]
pub fn Avatar(#[prop(into)] name: String) -> impl IntoView {
    let letters = initials(&name);
    view! { <span class="avatar" title=name aria-hidden="true">{letters}</span> }
}

/// First letters of the first and the last word. The style sheet makes them large: tables of all alphabets' letters
/// weigh more than the rest of what draws them.
fn initials(name: &str) -> String {
    let mut words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let first = words.next().and_then(|word| word.chars().next());
    let last = words.next_back().and_then(|word| word.chars().next());
    let letters: String = first.into_iter().chain(last).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::initials;

    #[test]
    fn letters_of_names() {
        for (name, letters) in [
            ("Ada Lovelace", "AL"),
            ("ada", "a"),
            ("Jean-Luc von Ärmel", "JÄ"),
            ("jean d'été", "jé"),
            ("  ", "?"),
            ("", "?"),
            ("李 小龍", "李小"),
        ] {
            assert_eq!(initials(name), letters, "{name:?}");
        }
    }
}
