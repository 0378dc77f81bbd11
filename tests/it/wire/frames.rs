//! Frames of a session (RFC 6455 section 5), from either side, in one write and byte by byte: the
//! good ones pass verbatim, and of a bad one nothing does.

use tidegate_tests::Frame;
use tidegate_tests::frame::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT};
use tidegate_tests::probe::FrameRow;
use tidegate_tests::probe::Side::{Client, Upstream};

fn part(opcode: u8, payload: &str) -> Frame {
    Frame::new(opcode, payload).unfinished()
}

fn end(payload: &str) -> Frame {
    Frame::new(CONTINUATION, payload)
}

fn close(code: u16) -> Frame {
    Frame::close(code, "why")
}

/// The sender's breach, of these frames the last.
fn client(frames: &[Frame]) -> FrameRow {
    FrameRow::breach(Client, frames)
}

fn upstream(frames: &[Frame]) -> FrameRow {
    FrameRow::breach(Upstream, frames)
}

fn text(payload: &str) -> Frame {
    Frame::text(payload)
}

rows! { FrameRow:
    rsv1_of_a_client_without_an_extension: client(&[text("good"), text("x").reserved(4)]);
    rsv2_of_a_client_without_an_extension: client(&[text("good"), text("x").reserved(2)]);
    rsv3_of_a_client_without_an_extension: client(&[text("good"), text("x").reserved(1)]);
    rsv1_of_an_upstream_without_an_extension: upstream(&[text("good"), text("x").reserved(4)]);
    rsv2_of_an_upstream_without_an_extension: upstream(&[text("good"), text("x").reserved(2)]);
    rsv3_of_an_upstream_without_an_extension: upstream(&[text("good"), text("x").reserved(1)]);
    rsv2_of_a_client_beside_deflate: client(&[text("x").reserved(2)]).deflate();
    rsv3_of_an_upstream_beside_deflate: upstream(&[text("x").reserved(1)]).deflate();
    rsv1_on_a_continuation_under_deflate: client(&[part(TEXT, "x").reserved(4), end("y").reserved(4)]).deflate();
    rsv1_on_a_continuation_of_an_upstream_under_deflate: upstream(&[part(TEXT, "x").reserved(4), end("y").reserved(4)]).deflate();
    rsv1_on_a_ping_under_deflate: client(&[Frame::new(PING, "").reserved(4)]).deflate();
    rsv1_on_a_pong_of_an_upstream_under_deflate: upstream(&[Frame::new(PONG, "").reserved(4)]).deflate();
    rsv1_on_a_close_under_deflate: client(&[close(1000).reserved(4)]).deflate();
    rsv1_on_a_message_under_deflate_passes: FrameRow::passes(Client, &[text("x").reserved(4), text("y")]).deflate();
    rsv1_on_a_first_part_under_deflate_passes: FrameRow::passes(Upstream, &[part(BINARY, "x").reserved(4), end("y")]).deflate();

    opcode_3_of_a_client: client(&[text("good"), Frame::new(3, "x")]);
    opcode_7_of_a_client: client(&[Frame::new(7, "x")]);
    opcode_11_of_a_client: client(&[Frame::new(11, "x")]);
    opcode_15_of_a_client: client(&[Frame::new(15, "")]);
    opcode_4_of_an_upstream: upstream(&[text("good"), Frame::new(4, "x")]);
    opcode_12_of_an_upstream: upstream(&[Frame::new(12, "x")]);
    opcode_3_within_a_message: client(&[part(TEXT, "a"), Frame::new(3, "x")]);

    an_unmasked_text_of_a_client: FrameRow::breach_of(Client, &text("x").bytes());
    an_unmasked_ping_of_a_client: FrameRow::breach_of(Client, &Frame::new(PING, "").bytes());
    an_unmasked_close_of_a_client: FrameRow::breach_of(Client, &close(1000).bytes());
    an_unmasked_continuation_of_a_client: FrameRow::breach_of(Client, &end("x").bytes());
    a_masked_text_of_an_upstream: upstream(&[text("x").masked([1, 2, 3, 4])]);
    a_masked_ping_of_an_upstream: upstream(&[Frame::new(PING, "").masked([1, 2, 3, 4])]);
    a_masked_close_of_an_upstream: upstream(&[close(1000).masked([1, 2, 3, 4])]);
    a_mask_of_zeros_of_an_upstream: upstream(&[text("x").masked([0; 4])]);
    a_mask_of_zeros_of_a_client_passes: FrameRow::passes(Client, &[text("x").masked([0; 4])]);

    a_ping_in_parts: client(&[part(PING, "x")]);
    a_pong_in_parts: client(&[part(PONG, "x")]);
    a_close_in_parts: client(&[close(1000).unfinished()]);
    a_ping_in_parts_of_an_upstream: upstream(&[part(PING, "x")]);
    a_close_in_parts_of_an_upstream: upstream(&[close(1000).unfinished()]);
    a_ping_of_126_bytes: client(&[Frame::new(PING, [7; 126])]);
    a_pong_of_126_bytes: client(&[Frame::new(PONG, [7; 126])]);
    a_close_of_126_bytes: client(&[Frame::close(1000, [b'x'; 124])]);
    a_ping_of_126_bytes_of_an_upstream: upstream(&[Frame::new(PING, [7; 126])]);
    a_close_of_126_bytes_of_an_upstream: upstream(&[Frame::close(1000, [b'x'; 124])]);
    a_ping_of_64_kib_is_judged_by_its_header: FrameRow::breach_of(Client, &[0x89, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]);
    a_ping_of_125_bytes_passes: FrameRow::passes(Client, &[Frame::new(PING, [7; 125])]);
    a_pong_that_nobody_asked_for_passes: FrameRow::passes(Client, &[Frame::new(PONG, "x")]);
    a_ping_within_a_message_passes: FrameRow::passes(Client, &[part(TEXT, "a"), Frame::new(PING, "x"), end("b")]);
    a_ping_of_an_upstream_within_a_message_passes: FrameRow::passes(Upstream, &[part(BINARY, "a"), Frame::new(PING, "x"), Frame::new(PONG, ""), end("b")]);
    a_close_within_a_message_passes: FrameRow::passes(Client, &[part(TEXT, "a"), close(1000)]);
    a_hundred_pings_pass: FrameRow::passes(Upstream, &vec![Frame::new(PING, ""); 100]);

    a_continuation_of_nothing: client(&[text("good"), end("x")]);
    an_unfinished_continuation_of_nothing: client(&[part(CONTINUATION, "x")]);
    an_empty_continuation_of_nothing: client(&[end("")]);
    a_continuation_of_nothing_of_an_upstream: upstream(&[text("good"), end("x")]);
    a_continuation_behind_the_last: client(&[part(TEXT, "a"), end("b"), end("c")]);
    a_continuation_behind_the_last_of_an_upstream: upstream(&[part(TEXT, "a"), end("b"), end("c")]);
    a_text_within_a_text: client(&[part(TEXT, "a"), text("b")]);
    a_binary_within_a_text: client(&[part(TEXT, "a"), Frame::new(BINARY, "b")]);
    a_text_within_a_binary: client(&[part(BINARY, "a"), text("b")]);
    a_first_part_within_a_message: client(&[part(BINARY, "a"), part(BINARY, "b")]);
    a_text_within_a_text_behind_a_ping: client(&[part(TEXT, "a"), Frame::new(PING, ""), text("b")]);
    a_text_within_a_text_of_an_upstream: upstream(&[part(TEXT, "a"), text("b")]);
    a_binary_within_a_binary_of_an_upstream: upstream(&[part(BINARY, "a"), part(CONTINUATION, "b"), Frame::new(BINARY, "c")]);
    parts_pass: FrameRow::passes(Client, &[part(TEXT, "a"), part(CONTINUATION, "b"), end("c"), text("d")]);
    empty_parts_pass: FrameRow::passes(Upstream, &[part(TEXT, ""), part(CONTINUATION, ""), end(""), text("")]);

    a_length_in_two_bytes_that_fits_one: FrameRow::breach_of(Client, &[0x82, 0xfe, 0, 125, 1, 2, 3, 4]);
    a_length_in_two_bytes_of_zero: FrameRow::breach_of(Client, &[0x82, 0xfe, 0, 0, 1, 2, 3, 4]);
    a_length_in_eight_bytes_that_fits_two: FrameRow::breach_of(Client, &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]);
    a_length_in_eight_bytes_that_fits_one: FrameRow::breach_of(Client, &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4]);
    a_length_with_its_top_bit: FrameRow::breach_of(Client, &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4]);
    a_length_of_all_bits: FrameRow::breach_of(Client, &[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4]);
    a_length_in_two_bytes_that_fits_one_of_an_upstream: FrameRow::breach_of(Upstream, &[0x82, 126, 0, 125]);
    a_length_in_eight_bytes_that_fits_two_of_an_upstream: FrameRow::breach_of(Upstream, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    a_length_with_its_top_bit_of_an_upstream: FrameRow::breach_of(Upstream, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 5]);
    lengths_in_their_shortest_form_pass: FrameRow::passes(Client, &[Frame::new(BINARY, [1; 125]), Frame::new(BINARY, [1; 126]), Frame::new(BINARY, vec![1; 300])]);
    a_length_in_eight_bytes_passes: FrameRow::passes(Upstream, &[Frame::new(BINARY, vec![7; 65_536])]);

    a_close_of_one_byte: client(&[text("good"), Frame::new(CLOSE, [3])]);
    a_close_of_one_byte_of_an_upstream: upstream(&[text("good"), Frame::new(CLOSE, [3])]);
    close_0: client(&[close(0)]);
    close_999: client(&[close(999)]);
    close_1004: client(&[close(1004)]);
    close_1005: client(&[close(1005)]);
    close_1006: client(&[close(1006)]);
    close_1015: client(&[close(1015)]);
    close_1016: client(&[close(1016)]);
    close_2999: client(&[close(2999)]);
    close_5000: client(&[close(5000)]);
    close_65535: client(&[close(65_535)]);
    close_999_of_an_upstream: upstream(&[close(999)]);
    close_1005_of_an_upstream: upstream(&[close(1005)]);
    close_1006_of_an_upstream: upstream(&[close(1006)]);
    close_1015_of_an_upstream: upstream(&[close(1015)]);
    close_2000_of_an_upstream: upstream(&[close(2000)]);
    close_5000_of_an_upstream: upstream(&[close(5000)]);
    close_1005_without_a_reason: client(&[Frame::close(1005, "")]);
    a_reason_in_latin_1: client(&[Frame::close(1000, [0xe9])]).told(1007);
    a_reason_overlong: client(&[Frame::close(1000, [0xc0, 0xaf])]).told(1007);
    a_reason_with_a_surrogate: client(&[Frame::close(1000, [0xed, 0xa0, 0x80])]).told(1007);
    a_reason_beyond_unicode: client(&[Frame::close(1000, [0xf4, 0x90, 0x80, 0x80])]).told(1007);
    a_reason_cut_within_a_letter: client(&[Frame::close(1000, [b'a', 0xe2, 0x82])]).told(1007);
    a_reason_cut_within_a_letter_of_an_upstream: upstream(&[Frame::close(1000, [b'a', 0xe2, 0x82])]).told(1007);
    a_reason_in_latin_1_of_an_upstream: upstream(&[Frame::close(4000, [0xe9])]).told(1007);
    an_empty_close_passes: FrameRow::passes(Client, &[Frame::new(CLOSE, "")]);
    close_1000_passes: FrameRow::passes(Client, &[close(1000)]);
    close_1003_passes: FrameRow::passes(Upstream, &[close(1003)]);
    close_1007_passes: FrameRow::passes(Client, &[close(1007)]);
    close_1014_passes: FrameRow::passes(Upstream, &[close(1014)]);
    close_3000_passes: FrameRow::passes(Client, &[close(3000)]);
    close_4999_passes: FrameRow::passes(Upstream, &[close(4999)]);
    a_reason_of_123_bytes_passes: FrameRow::passes(Client, &[Frame::close(1000, [b'x'; 123])]);
    a_reason_beyond_ascii_passes: FrameRow::passes(Upstream, &[Frame::close(1000, "z\u{fc}r\u{20ac}\u{1f30a}")]);

    a_frame_over_its_limit: client(&[text("good"), text("12345678901")]).limits("max_frame: 10").told(1009);
    a_frame_over_its_limit_of_an_upstream: upstream(&[text("good"), text("12345678901")]).limits("max_frame: 10").told(1009);
    a_frame_over_its_limit_is_judged_by_its_header: FrameRow::breach_of(Client, &[0x82, 0xff, 0, 0, 0, 255, 0, 0, 0, 0, 1, 2, 3, 4]).limits("max_frame: 10").told(1009);
    a_message_over_its_limit: client(&[part(TEXT, "12345"), Frame::new(CONTINUATION, "678901")]).limits("max_message: 10").told(1009);
    a_message_over_its_limit_of_an_upstream: upstream(&[part(TEXT, "12345"), Frame::new(CONTINUATION, "678901")]).limits("max_message: 10").told(1009);
    a_message_whose_lengths_add_up_to_more_than_64_bits: client(&[part(BINARY, "1"), Frame::new(CONTINUATION, "12345678901")]).limits("max_message: 10").told(1009);
    a_frame_at_its_limit_passes: FrameRow::passes(Client, &[text("1234567890"), text("1234567890")]).limits("max_frame: 10");
    a_message_at_its_limit_passes: FrameRow::passes(Upstream, &[part(TEXT, "12345"), end("67890"), text("1234567890")]).limits("max_message: 10");

    a_text_behind_a_close_goes_nowhere: FrameRow::ignored(Client, &[close(1000), text("late")]);
    a_close_behind_a_close_goes_nowhere: FrameRow::ignored(Client, &[close(1000), close(1001)]);
    a_ping_behind_a_close_goes_nowhere: FrameRow::ignored(Client, &[close(1000), Frame::new(PING, "late")]);
    a_text_behind_a_close_of_an_upstream_goes_nowhere: FrameRow::ignored(Upstream, &[close(1000), text("late")]);
    a_bad_frame_behind_a_close_of_an_upstream_goes_nowhere: FrameRow::ignored(Upstream, &[close(1000), Frame::new(7, "late")]);
    a_text_that_is_no_utf_8_passes_unless_somebody_looks: FrameRow::passes(Client, &[Frame::new(TEXT, [0xff, 0xfe])]);
    a_text_of_an_upstream_that_is_no_utf_8_passes_unless_somebody_looks: FrameRow::passes(Upstream, &[Frame::new(TEXT, [0xc0, 0xaf])]);
    a_letter_in_two_parts_passes: FrameRow::passes(Client, &[Frame::new(TEXT, [0xe2, 0x82]).unfinished(), Frame::new(CONTINUATION, [0xac])]);
}
