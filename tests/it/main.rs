//! The black-box cases: one module per promise.

mod answers_arrive_as_sent;
mod bad_frames_end_the_session;
mod bodies_stream;
mod close_says_what_it_said;
mod cut_answers_look_cut;
mod failures_leave_nothing_behind;
mod framing_is_kept;
mod lost_peer_is_told_to_the_other;
mod malformed_101_is_502;
mod no_101_before_upstream_agrees;
mod relayed_bytes_are_those_sent;
mod requests_arrive_as_sent;
mod sessions_have_limits;
mod slow_reader_slows_the_writer;
mod upstream_refusal_reaches_client;
mod what_upstream_chose_is_on_the_101;
mod wrong_handshakes_are_refused;
