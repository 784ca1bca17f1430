"""Numbers and strangers' text as people read them."""

from mergetrace.readable import decimal, interval, listing, percent, rate, size, visible


def test_numbers_as_people_read_them():
    assert [rate(x) for x in (1.0, 0.0, 0.99999999999, 0.99996, 0.5, 0.0001)] == [
        "100\u00a0%",
        "0\u00a0%",
        "99.999999\u00a0%",
        "99.996\u00a0%",
        "50.0\u00a0%",
        "under 0.1\u00a0%",
    ]
    assert (
        percent(None, "nothing read")
        == percent(float("nan"), "nothing read")
        == "not computed: nothing read"
    )
    assert [decimal(x) for x in (1, 0.99998, 0.5711, -0.25, 0.0)] == [
        "1.0000",
        "0.99998",
        "0.5711",
        "\u22120.2500",
        "0.0000",
    ]
    assert [size(x) for x in (0, 999, 12_345, 8.068e11, 2.4e15)] == [
        "0 bytes",
        "999 bytes",
        "12.3\u00a0kB",
        "806.8\u00a0GB",
        "2,400.0\u00a0TB",
    ]
    assert [listing(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "nothing",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert interval([0.49388, 0.66762]) == "49.4 to 66.8\u00a0%"
    assert interval([0.571, 0.571]) == "57.1000 ± 0.0001\u00a0%"
    assert (
        visible("a\u200bb\ttab\nline \u00e9\u4f60")
        == "a⟨U+200B⟩b\ttab\nline \u00e9\u4f60"
    )
