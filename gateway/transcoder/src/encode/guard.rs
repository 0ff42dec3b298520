//! Which fields were given, and which must not be.

use smallvec::SmallVec;

use crate::schema::Plan;

/// Why a field is refused that was given before.
pub(crate) const TWICE: &str = "is given more than once";
/// Why a field is refused that a path variable sets.
pub(crate) const SET_BY_PATH: &str = "is set by the path";

/// The fields and oneofs of one message that a document has given.
pub(super) struct Given(SmallVec<[u64; 2]>);

impl Given {
    #[inline]
    pub(super) fn new(plan: &Plan) -> Self {
        let bits = plan.fields.len() + plan.oneofs.len();
        Self(SmallVec::from_elem(0, bits.div_ceil(64)))
    }

    /// Notes a field; false if it was given before.
    #[inline]
    pub(super) fn field(&mut self, place: usize) -> bool {
        let (word, bit) = (place / 64, 1 << (place % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    /// Notes a field of a oneof; false if one of its fields has been given before.
    #[inline]
    pub(super) fn oneof(&mut self, plan: &Plan, oneof: u32) -> bool {
        self.field(plan.fields.len() + oneof as usize)
    }
}

/// The fields of a message that a path sets, each at the end of a way down.
#[derive(Debug, Default)]
pub(crate) struct Guard(Vec<Step>);

#[derive(Debug)]
struct Step {
    place: usize,
    oneof: Option<u32>,
    /// None at the end of the way.
    below: Option<Guard>,
}

/// What a path does to a field.
pub(super) enum Way<'g> {
    /// Nothing.
    Free,
    /// It sets something below the field.
    Through(&'g Guard),
    /// It sets the field.
    Taken,
}

impl Guard {
    /// Adds a way down: for each field its place, and that of its oneof.
    pub(crate) fn add(&mut self, way: &[(usize, Option<u32>)]) {
        let Some((&(place, oneof), rest)) = way.split_first() else { return };
        let known = self.0.iter().position(|step| step.place == place);
        let at = known.unwrap_or_else(|| {
            let below = (!rest.is_empty()).then(Self::default);
            self.0.push(Step { place, oneof, below });
            self.0.len() - 1
        });
        if let Some(below) = &mut self.0[at].below {
            below.add(rest);
        }
    }

    pub(super) fn way(&self, place: usize) -> Way<'_> {
        match self.0.iter().find(|step| step.place == place) {
            None => Way::Free,
            Some(Step { below: Some(below), .. }) => Way::Through(below),
            Some(_) => Way::Taken,
        }
    }

    /// Whether the path sets another field of the oneof than the one at `place`.
    pub(super) fn excludes(&self, oneof: u32, place: usize) -> bool {
        self.0.iter().any(|step| step.oneof == Some(oneof) && step.place != place)
    }
}
