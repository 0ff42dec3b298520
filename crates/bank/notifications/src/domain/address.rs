//! Addresses as logs may show them.

use super::Channel;

/// Hides what names a person: `ana@example.com` becomes `a***@example.com`, a telephone number keeps
/// its first three and last two characters. The id of a user names nobody, and stays.
pub(crate) fn masked(channel: Channel, address: &str) -> String {
    match channel {
        Channel::Email => match address.rsplit_once('@') {
            Some((local, domain)) => {
                let first: String = local.chars().take(1).collect();
                format!("{first}***@{domain}")
            }
            None => "***".to_owned(),
        },
        Channel::Sms => {
            let count = address.chars().count();
            let is_shown = |place| place < 3 || place + 2 >= count;
            let shown = |(place, digit)| if is_shown(place) { digit } else { '*' };
            address.chars().enumerate().map(shown).collect()
        }
        Channel::InApp | Channel::Push => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_what_tells_it_apart_and_no_more() {
        for (channel, address, shown) in [
            (Channel::Email, "ana@example.com", "a***@example.com"),
            (Channel::Email, "a@example.com", "a***@example.com"),
            (Channel::Email, "\"x@y\"@example.com", "\"***@example.com"),
            (Channel::Email, "élise@example.com", "é***@example.com"),
            (Channel::Email, "nobody", "***"),
            (Channel::Sms, "+5511987654321", "+55*********21"),
            (Channel::Sms, "+12025550123", "+12*******23"),
            (Channel::Push, "0190f3a0", "0190f3a0"),
        ] {
            assert_eq!(masked(channel, address), shown, "{address}");
        }
    }
}
