use std::fmt;

/// A currency of ISO 4217 that has a minor unit. Only those in the active list exist.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Currency {
    code: &'static str,
    number: u16,
    exponent: u8,
}

impl Currency {
    /// The Brazilian real.
    pub const BRL: Self = row("BRL", 986, 2);

    /// Finds a currency by its alphabetic code, in capitals: `BRL`.
    pub fn from_code(code: &str) -> Option<Self> {
        ACTIVE.binary_search_by_key(&code, |currency| currency.code).ok().map(|at| ACTIVE[at])
    }

    /// Finds a currency by its ISO 4217 number: 986.
    pub fn from_number(number: u32) -> Option<Self> {
        ACTIVE.iter().copied().find(|currency| u32::from(currency.number) == number)
    }

    /// The alphabetic code: `BRL`.
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// The ISO 4217 number: 986.
    pub fn number(self) -> u32 {
        u32::from(self.number)
    }

    /// Decimal places of the minor unit: 2 for BRL, 0 for JPY.
    pub fn exponent(self) -> u32 {
        u32::from(self.exponent)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code)
    }
}

const fn row(code: &'static str, number: u16, exponent: u8) -> Currency {
    Currency { code, number, exponent }
}

/// The active list of ISO 4217 as of 2026, sorted by code, without metals, test codes and
/// units that have no minor unit.
#[rustfmt::skip]
const ACTIVE: [Currency; 165] = [
    row("AED", 784, 2), row("AFN", 971, 2), row("ALL", 8, 2), row("AMD", 51, 2),
    row("AOA", 973, 2), row("ARS", 32, 2), row("AUD", 36, 2), row("AWG", 533, 2),
    row("AZN", 944, 2), row("BAM", 977, 2), row("BBD", 52, 2), row("BDT", 50, 2),
    row("BHD", 48, 3), row("BIF", 108, 0), row("BMD", 60, 2), row("BND", 96, 2),
    row("BOB", 68, 2), row("BOV", 984, 2), row("BRL", 986, 2), row("BSD", 44, 2),
    row("BTN", 64, 2), row("BWP", 72, 2), row("BYN", 933, 2), row("BZD", 84, 2),
    row("CAD", 124, 2), row("CDF", 976, 2), row("CHE", 947, 2), row("CHF", 756, 2),
    row("CHW", 948, 2), row("CLF", 990, 4), row("CLP", 152, 0), row("CNY", 156, 2),
    row("COP", 170, 2), row("COU", 970, 2), row("CRC", 188, 2), row("CUP", 192, 2),
    row("CVE", 132, 2), row("CZK", 203, 2), row("DJF", 262, 0), row("DKK", 208, 2),
    row("DOP", 214, 2), row("DZD", 12, 2), row("EGP", 818, 2), row("ERN", 232, 2),
    row("ETB", 230, 2), row("EUR", 978, 2), row("FJD", 242, 2), row("FKP", 238, 2),
    row("GBP", 826, 2), row("GEL", 981, 2), row("GHS", 936, 2), row("GIP", 292, 2),
    row("GMD", 270, 2), row("GNF", 324, 0), row("GTQ", 320, 2), row("GYD", 328, 2),
    row("HKD", 344, 2), row("HNL", 340, 2), row("HTG", 332, 2), row("HUF", 348, 2),
    row("IDR", 360, 2), row("ILS", 376, 2), row("INR", 356, 2), row("IQD", 368, 3),
    row("IRR", 364, 2), row("ISK", 352, 0), row("JMD", 388, 2), row("JOD", 400, 3),
    row("JPY", 392, 0), row("KES", 404, 2), row("KGS", 417, 2), row("KHR", 116, 2),
    row("KMF", 174, 0), row("KPW", 408, 2), row("KRW", 410, 0), row("KWD", 414, 3),
    row("KYD", 136, 2), row("KZT", 398, 2), row("LAK", 418, 2), row("LBP", 422, 2),
    row("LKR", 144, 2), row("LRD", 430, 2), row("LSL", 426, 2), row("LYD", 434, 3),
    row("MAD", 504, 2), row("MDL", 498, 2), row("MGA", 969, 2), row("MKD", 807, 2),
    row("MMK", 104, 2), row("MNT", 496, 2), row("MOP", 446, 2), row("MRU", 929, 2),
    row("MUR", 480, 2), row("MVR", 462, 2), row("MWK", 454, 2), row("MXN", 484, 2),
    row("MXV", 979, 2), row("MYR", 458, 2), row("MZN", 943, 2), row("NAD", 516, 2),
    row("NGN", 566, 2), row("NIO", 558, 2), row("NOK", 578, 2), row("NPR", 524, 2),
    row("NZD", 554, 2), row("OMR", 512, 3), row("PAB", 590, 2), row("PEN", 604, 2),
    row("PGK", 598, 2), row("PHP", 608, 2), row("PKR", 586, 2), row("PLN", 985, 2),
    row("PYG", 600, 0), row("QAR", 634, 2), row("RON", 946, 2), row("RSD", 941, 2),
    row("RUB", 643, 2), row("RWF", 646, 0), row("SAR", 682, 2), row("SBD", 90, 2),
    row("SCR", 690, 2), row("SDG", 938, 2), row("SEK", 752, 2), row("SGD", 702, 2),
    row("SHP", 654, 2), row("SLE", 925, 2), row("SOS", 706, 2), row("SRD", 968, 2),
    row("SSP", 728, 2), row("STN", 930, 2), row("SVC", 222, 2), row("SYP", 760, 2),
    row("SZL", 748, 2), row("THB", 764, 2), row("TJS", 972, 2), row("TMT", 934, 2),
    row("TND", 788, 3), row("TOP", 776, 2), row("TRY", 949, 2), row("TTD", 780, 2),
    row("TWD", 901, 2), row("TZS", 834, 2), row("UAH", 980, 2), row("UGX", 800, 0),
    row("USD", 840, 2), row("USN", 997, 2), row("UYI", 940, 0), row("UYU", 858, 2),
    row("UYW", 927, 4), row("UZS", 860, 2), row("VED", 926, 2), row("VES", 928, 2),
    row("VND", 704, 0), row("VUV", 548, 0), row("WST", 882, 2), row("XAD", 396, 2),
    row("XAF", 950, 0), row("XCD", 951, 2), row("XCG", 532, 2), row("XOF", 952, 0),
    row("XPF", 953, 0), row("YER", 886, 2), row("ZAR", 710, 2), row("ZMW", 967, 2),
    row("ZWG", 924, 2),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_and_numbers_are_unique_and_lead_back() {
        assert!(ACTIVE.is_sorted_by(|a, b| a.code < b.code));
        assert_eq!(ACTIVE.iter().map(|c| c.number).collect::<HashSet<_>>().len(), ACTIVE.len());
        for currency in ACTIVE {
            assert_eq!(Currency::from_code(currency.code()), Some(currency));
            assert_eq!(Currency::from_number(currency.number()), Some(currency));
        }
        assert_eq!(Currency::from_code("BRL"), Some(Currency::BRL));
    }

    #[test]
    fn what_is_not_an_active_currency_is_unknown() {
        for code in ["", "brl", "BRLL", "HRK", "ZWL", "XAU", "XXX", "XTS"] {
            assert_eq!(Currency::from_code(code), None, "{code}");
        }
        assert_eq!(Currency::from_number(0), None);
        assert_eq!(Currency::from_number(65_536 + 986), None);
    }

    /// B-11: the table agrees with an independent copy of the standard.
    #[test]
    fn numbers_and_exponents_agree_with_another_table() {
        for currency in ACTIVE {
            let other = iso_currency::Currency::from_code(currency.code())
                .unwrap_or_else(|| panic!("{currency} is unknown"));
            assert_eq!(currency.number(), u32::from(other.numeric()), "{currency}");
            assert_eq!(Some(currency.exponent()), other.exponent().map(u32::from), "{currency}");
        }
    }
}
