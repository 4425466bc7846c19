/// Why something could not be looked at or done. Platform administrators read it, nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
