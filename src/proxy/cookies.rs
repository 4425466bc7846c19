//! Cookies between environments and the console. Both live below one domain, so browsers call them same-site:
//! an environment runs foreign code and must neither read the console's session nor plant one.

use super::CONSOLE_COOKIES;
use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

/// Takes the console's cookies out of what an environment gets.
pub fn remove_console_cookies(headers: &mut HeaderMap) {
    let kept: Vec<Vec<u8>> = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty() && !is_console_cookie(pair))
        .map(<[u8]>::to_vec)
        .collect();
    if headers.remove(COOKIE).is_some()
        && !kept.is_empty()
        && let Ok(value) = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
    {
        headers.insert(COOKIE, value);
    }
}

/// Binds every cookie of an environment to its own host: drops `Domain`, and the console's names altogether.
pub fn confine_set_cookies(headers: &mut HeaderMap) {
    let confined: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().filter_map(confine).collect();
    headers.remove(SET_COOKIE);
    for value in confined {
        headers.append(SET_COOKIE, value);
    }
}

fn confine(value: &HeaderValue) -> Option<HeaderValue> {
    let mut parts = value.as_bytes().split(|byte| *byte == b';');
    let pair = parts.next()?;
    if is_console_cookie(pair.trim_ascii()) {
        return None;
    }
    let mut confined = pair.to_vec();
    for attribute in parts.filter(|part| !name_of(part).eq_ignore_ascii_case(b"domain")) {
        confined.push(b';');
        confined.extend_from_slice(attribute);
    }
    HeaderValue::from_bytes(&confined).ok()
}

/// The part before `=`. Browsers take names as they are; case is ignored here to be on the safe side.
fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn is_console_cookie(pair: &[u8]) -> bool {
    CONSOLE_COOKIES.iter().any(|cookie| name_of(pair).eq_ignore_ascii_case(cookie.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{confine_set_cookies, remove_console_cookies};
    use http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{COOKIE, SET_COOKIE},
    };

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn threat_04_the_console_s_session_never_reaches_an_environment() {
        for (sent, forwarded) in [
            (vec!["session_id=a; frontend_lang=en_US"], vec!["session_id=a; frontend_lang=en_US"]),
            (vec!["__Host-ops_session=s; session_id=a"], vec!["session_id=a"]),
            (vec!["session_id=a;ops_session=s"], vec!["session_id=a"]),
            (vec!["session_id=a;  __Host-ops_session = s ;x=y"], vec!["session_id=a; x=y"]),
            (vec!["ops_session=1; ops_session=2"], vec![]),
            (vec!["OPS_SESSION=s"], vec![]),
            (vec!["session_id=a", "__Host-ops_session=s"], vec!["session_id=a"]),
            (vec!["a=1", "b=2"], vec!["a=1; b=2"]),
            (vec!["ops_session"], vec![]),
            (vec!["my_ops_session=mine"], vec!["my_ops_session=mine"]),
            (vec!["a=ops_session=s"], vec!["a=ops_session=s"]),
            (vec![""], vec![]),
        ] {
            let mut headers = headers(COOKIE, &sent);
            remove_console_cookies(&mut headers);
            assert_eq!(values(&headers, COOKIE), forwarded, "{sent:?}");
        }
    }

    #[test]
    fn an_environment_s_cookies_stay_on_its_host() {
        for (set, confined) in [
            ("session_id=a; Path=/; HttpOnly", Some("session_id=a; Path=/; HttpOnly")),
            ("session_id=a; Domain=localhost; Path=/", Some("session_id=a; Path=/")),
            ("session_id=a;domain=.localhost", Some("session_id=a")),
            ("session_id=a; DOMAIN = .example.com; Secure", Some("session_id=a; Secure")),
            ("session_id=a;\tDomain=x;Domain=y", Some("session_id=a")),
            ("a=b; Domain", Some("a=b")),
            ("Domain=not-an-attribute; Path=/", Some("Domain=not-an-attribute; Path=/")),
            ("ops_session=planted; Path=/", None),
            ("__host-OPS_session=planted; Secure; Path=/", None),
            (" ops_session=planted", None),
        ] {
            let mut headers = headers(SET_COOKIE, &[set, "kept=1"]);
            confine_set_cookies(&mut headers);
            let mut expected: Vec<&str> = confined.into_iter().collect();
            expected.push("kept=1");
            assert_eq!(values(&headers, SET_COOKIE), expected, "{set:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_survive() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_bytes(b"a=\xff\xfe; ops_session=s").unwrap());
        remove_console_cookies(&mut headers);
        assert_eq!(headers[COOKIE].as_bytes(), b"a=\xff\xfe");
    }
}
