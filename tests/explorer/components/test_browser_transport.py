"""The sound itself: transport.js renders into an OfflineAudioContext, and every sample of it is looked at.

Lanes are sines, so that each moment of the output says which lane it is and where in it. A fade takes FADE_S; the
second difference of the samples tells a click from a fade.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import soundfile

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

RATE, QUANTUM = 48_000, 128  # Hz; samples between two moments at which a rendering can be stopped
FADE_S, SWITCH_S = 0.004, 0.005
A, B, C = 440.0, 660.0, 330.0  # Hz
# seconds to render, lanes, code run before play(), [[second, code], ...] run while everything stands still
RENDER = """
async ({ rate, quantum, seconds, lanes, before, acts, every }) => {
  const { Transport } = await import("/static/whence/transport.js");
  const context = new OfflineAudioContext(1, rate * seconds, rate);
  context.resume = async () => {}; // play() asks for it; here it would start a rendering that has not begun
  const transport = new Transport(() => {}, () => context);
  const sine = ({ hertz, seconds, level }) => {
    const buffer = context.createBuffer(1, Math.round(rate * seconds), rate), samples = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) samples[i] = level * Math.sin((2 * Math.PI * hertz * i) / rate);
    return buffer;
  };
  const heard = [];
  const code_of = (async () => {}).constructor;
  const run = (code) => new code_of("transport", "context", "sine", "heard", code)(transport, context, sine, heard);
  transport.setLanes(lanes.map(({ key, seconds, gain }) => ({ key, url: null, duration: seconds, gain })));
  lanes.forEach((lane) => { if (!lane.late) transport.lanes.get(lane.key).buffer = sine(lane); });
  await run(before);
  await transport.play();
  clearInterval(transport.timer); // its clock is the wall's: plan() is called at moments of the rendering instead
  const stops = new Map();
  const at = (second, code) => {
    const stop = Math.round((second * rate) / quantum);
    stops.set(stop, [...(stops.get(stop) || []), code]);
  };
  for (let second = every; second < seconds; second += every) at(second, "");
  acts.forEach(([second, code]) => at(second, code));
  for (const [stop, codes] of stops)
    context.suspend((stop * quantum) / rate).then(async () => {
      for (const code of codes) await run(code);
      transport.plan();
      OfflineAudioContext.prototype.resume.call(context);
    });
  const samples = (await context.startRendering()).getChannelData(0), bytes = new Uint8Array(samples.buffer);
  clearInterval(transport.timer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return { samples: btoa(text), heard, playing: transport.playing, rest: transport.rest };
}
"""


def lane(key: str, hertz: float, seconds: float = 6.0, level: float = 0.5, gain: float = 1.0, **more: Any) -> dict:
    return {"key": key, "hertz": hertz, "seconds": seconds, "level": level, "gain": gain, **more}


def stop_at(second: float) -> float:
    """The moment at which an act of that second really happens."""
    return int(second * RATE / QUANTUM + 0.5) * QUANTUM / RATE


@pytest.fixture(scope="module")
def render(browser, url):
    """render(seconds, lanes, before, acts) -> (samples, what the page said)."""
    page = browser.new_page()
    late = io.BytesIO()
    soundfile.write(late, sine(B, np.arange(6 * RATE) / RATE), RATE, format="WAV")
    page.route("**/audio/late", lambda route: route.fulfill(body=late.getvalue(), content_type="audio/wav"))
    page.goto(f"{url}/static/whence/transport.js")

    def rendered(seconds, lanes, before="", acts=(), every=0.1):
        options = {"rate": RATE, "quantum": QUANTUM, "seconds": seconds, "lanes": lanes, "before": before}
        said = page.evaluate(RENDER, {**options, "acts": [list(act) for act in acts], "every": every})
        return np.frombuffer(base64.b64decode(said.pop("samples")), dtype=np.float32).astype(float), said

    yield rendered
    page.close()


def sine(hertz: float, seconds: np.ndarray, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * seconds)


def clock(samples: np.ndarray) -> np.ndarray:
    return np.arange(len(samples)) / RATE


def part(samples: np.ndarray, from_s: float, to_s: float) -> slice:
    return slice(round(from_s * RATE), round(to_s * RATE))


def assert_no_click(samples: np.ndarray, *lanes: tuple[float, float]) -> None:
    """`lanes`: (hertz, level). A sum of sines under linear fades of FADE_S bends no more than this.

    For s = g·sine: |s''| <= level (w² + 2 w g' + g''), with w in radians and g' per sample; a corner of a fade is
    g'' = g'. Two fades may overlap (a lane's own and a round's), hence twice g'.
    """
    slope = 2 / (FADE_S * RATE)
    omega = [2 * np.pi * hertz / RATE for hertz, _ in lanes]
    bound = sum(level * (w * w + 2 * w * slope + slope) for w, (_, level) in zip(omega, lanes, strict=True))
    bend = np.abs(np.diff(samples, 2))
    assert bend.max() <= bound, f"a click at {bend.argmax() / RATE:.4f} s: {bend.max():.4f} > {bound:.4f}"


def test_the_measure_of_a_click_sees_a_hard_cut():
    t = np.arange(RATE) / RATE
    hard = np.where(t < 0.5004, sine(A, t), sine(B, t))
    with pytest.raises(AssertionError, match=r"a click at 0\.500"):
        assert_no_click(hard, (A, 0.5), (B, 0.5))


def test_a_switch_is_complete_within_5_ms_and_does_not_click(render):
    out, _ = render(2, [lane("a", A), lane("b", B)], acts=[(1.0, "transport.switchTo('b')")])
    t, at = clock(out), stop_at(1.0)
    before, after = part(out, FADE_S, at), part(out, at + SWITCH_S, 2)
    np.testing.assert_allclose(out[before], sine(A, t)[before], atol=1e-3)
    np.testing.assert_allclose(out[after], sine(B, t)[after], atol=1e-3)  # on the same clock, not from its beginning
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_switches_in_quick_succession_neither_click_nor_add_up(render):
    lanes = [lane(key, A, level=1.0) for key in "abc"]  # the same tone, full scale: the worst case of a sum
    acts = [(1 + 0.00267 * i, f"transport.switchTo('{'abc'[i % 3]}')") for i in range(1, 40)]
    out, _ = render(2, lanes, acts=acts)
    assert np.abs(out).max() <= 1 + 1e-6
    assert_no_click(out, (A, 1.0), (A, 1.0), (A, 1.0))


@pytest.mark.parametrize("every", [0.1, 1.0], ids=["in front", "in a hidden tab, woken once a second"])
def test_a_loop_turns_without_click_at_the_exact_period(render, every):
    loop = "transport.setPassages({a: [0.5, 1.25]}); transport.setLoop(true);"
    out, _ = render(6, [lane("a", A)], loop, every=every)
    t, period = clock(out), 0.75
    place = 0.5 + t % period
    inside = (t % period > FADE_S) & (t % period < period - FADE_S)
    np.testing.assert_allclose(out[inside], sine(A, place)[inside], atol=1e-3)
    shift = round(period * RATE)
    # Every turn is the same, its fades too (the first also opens the lane).
    np.testing.assert_allclose(out[2 * shift :], out[shift:-shift], atol=1e-3)
    assert_no_click(out, (A, 0.5))


def test_lanes_stay_in_step_over_many_turns_of_an_odd_length(render):
    length = 0.30007  # no whole number of samples
    passages = f"transport.setPassages({{a: [0.2, {0.2 + length}], b: [1.1, {1.1 + length}]}});"
    loop = passages + "transport.setLoop(true);"
    out, _ = render(8, [lane("a", A), lane("b", B)], loop, [(7.0, "transport.switchTo('b')")])
    t = clock(out)
    phase = t % length
    inside = (phase > FADE_S + 1e-4) & (phase < length - FADE_S - 1e-4)
    one_sample = 0.5 * 2 * np.pi * B / RATE
    first, last = inside & (t < stop_at(7.0)), inside & (t > stop_at(7.0) + SWITCH_S)
    assert np.abs(out - sine(A, 0.2 + phase))[first].max() < one_sample
    assert np.abs(out - sine(B, 1.1 + phase))[last].max() < one_sample


def test_a_switch_at_the_turn_of_a_loop_does_not_click(render):
    # A turn fades for FADE_S on both sides: every quantum around one is tried, each at a turn of its own.
    acts = [(0.48 * turn + (turn - 5) * 0.00267, f"transport.switchTo('{'ab'[turn % 2]}')") for turn in range(1, 11)]
    loop = "transport.setPassages({a: [0, 0.48], b: [0, 0.48]}); transport.setLoop(true);"
    out, _ = render(6, [lane("a", A), lane("b", B)], loop, acts)
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_clip_and_track_take_turns_each_passage_whole(render):
    before = "transport.setPassages({a: [0.5, 1.0], b: [2.0, 2.6]}); transport.alternate(['a', 'b']);"
    out, _ = render(5, [lane("a", A), lane("b", B), lane("c", C)], before)
    t = clock(out)
    place = t % 1.1
    expected = np.where(place < 0.5, sine(A, 0.5 + place), sine(B, 2.0 + place - 0.5))
    edge = np.minimum.reduce([place, np.abs(place - 0.5), 1.1 - place])
    np.testing.assert_allclose(out[edge > FADE_S], expected[edge > FADE_S], atol=1e-3)
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_a_pause_within_a_turn_goes_on_with_that_turn(render):
    before = "transport.setPassages({a: [0.5, 1.0], b: [2.0, 2.6]}); transport.alternate(['a', 'b']);"
    acts = [
        (0.8, "transport.pause(); heard.push(transport.sounding)"),
        (1.0, "await transport.play(); clearInterval(transport.timer)"),
    ]
    out, said = render(2, [lane("a", A), lane("b", B)], before, acts)
    assert said["heard"] == ["b"]
    begun = stop_at(1.0) + 0.02
    turned = begun + 0.6 - (stop_at(0.8) - 0.5)
    t = clock(out)
    rest, turn = part(out, begun + SWITCH_S, turned - SWITCH_S), part(out, turned + SWITCH_S, turned + 0.49)
    assert np.abs(out - sine(B, t - turned + 2.6))[rest].max() < 0.05
    assert np.abs(out - sine(A, t - turned + 0.5))[turn].max() < 0.05
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_matched_gain_volume_and_a_change_of_both(render):
    lanes = [lane("a", A, gain=0.5), lane("b", B, gain=0.25)]
    acts = [
        (1.0, "transport.setVolume(0.5)"),
        (1.5, "transport.switchTo('b')"),
        (2.0, "transport.lanes.get('b').gain = 1; transport.level()"),
    ]
    out, _ = render(2.5, lanes, acts=acts)
    levels = [np.abs(out[part(out, from_s, from_s + 0.4)]).max() for from_s in (0.05, 1.05, 1.55, 2.05)]
    np.testing.assert_allclose(levels, [0.25, 0.125, 0.0625, 0.25], rtol=0.01)
    assert_no_click(out, (A, 0.25), (B, 0.25))


def test_a_lane_that_arrives_late_joins_in_step(render):
    late = "const lane = transport.lanes.get('b'); lane.url = '/audio/late'; await transport.load(lane);"
    acts = [(0.5, "transport.switchTo('b')"), (1.0, late)]
    out, _ = render(2.5, [lane("a", A), lane("b", B, late=True)], acts=acts)
    t = clock(out)
    joined = part(out, stop_at(1.0) + 0.03, 2.5)
    assert np.abs(out[part(out, stop_at(0.5) + SWITCH_S, 1.0)]).max() < 1e-6  # nothing of B is there yet
    np.testing.assert_allclose(out[joined], sine(B, t)[joined], atol=2e-3)
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_seek_pause_and_play_go_to_the_place_without_a_click(render):
    acts = [
        (1.0, "transport.seek(3.0)"),
        (1.5, "transport.pause(); heard.push(transport.rest)"),
        (2.0, "await transport.play(); clearInterval(transport.timer)"),
    ]
    out, said = render(2.5, [lane("a", A)], acts=acts)
    soon = 0.02
    begun = stop_at(1.0) + soon
    np.testing.assert_allclose(
        out[part(out, begun + SWITCH_S, 1.49)],
        sine(A, clock(out) - begun + 3.0)[part(out, begun + SWITCH_S, 1.49)],
        atol=1e-2,
    )
    rest = said["heard"][0]
    assert rest == pytest.approx(3.0 + stop_at(1.5) - begun, abs=1e-6)
    assert np.abs(out[part(out, stop_at(1.5) + SWITCH_S, 2.0)]).max() < 1e-6
    again = part(out, stop_at(2.0) + soon + SWITCH_S, 2.5)
    expected = sine(A, clock(out) - stop_at(2.0) - soon + rest)
    np.testing.assert_allclose(out[again], expected[again], atol=0.05)  # a start between two samples
    assert_no_click(out, (A, 0.5), (A, 0.5))


def test_a_new_loop_around_the_place_that_sounds_keeps_it(render):
    acts = [(1.0, "transport.setLoop(true); transport.setPassages({a: [0.8, 1.4]}); heard.push(transport.offset)")]
    out, said = render(4, [lane("a", A)], acts=acts)
    assert said["heard"][0] == pytest.approx(0.2, abs=0.03)
    begun = stop_at(1.0) + 0.02  # at 1.0 s of the lane
    phase = (clock(out) - begun + stop_at(1.0) - 0.8) % 0.6
    inside = (clock(out) > begun + SWITCH_S) & (phase > SWITCH_S) & (phase < 0.6 - SWITCH_S)
    assert np.abs(out - sine(A, 0.8 + phase))[inside].max() < 0.05
    assert_no_click(out, (A, 0.5), (A, 0.5))


def test_without_a_loop_it_ends_at_the_end_and_rests_at_the_beginning(render):
    out, said = render(2, [lane("a", A, seconds=1.0), lane("b", B, seconds=1.7)])
    assert (said["playing"], said["rest"]) == (False, 0)
    assert np.abs(out[part(out, 0.9, 0.99)]).max() > 0.49
    assert np.abs(out[part(out, 1.0, 2.0)]).max() < 1e-6
    assert_no_click(out, (A, 0.5))


def test_where_the_lane_that_sounds_is_taken_away_the_first_takes_over_without_a_click(render):
    away = "transport.setLanes([{key: 'a', url: null, duration: 6, gain: 1}]);"
    acts = [(1.0013, away + "heard.push(transport.playing, transport.heard)")]
    out, said = render(2, [lane("a", A), lane("b", B)], "transport.switchTo('b')", acts)
    assert said["heard"] == [True, "a"]
    begun = stop_at(1.0013) + 0.02
    after = part(out, begun + SWITCH_S, 2)
    np.testing.assert_allclose(out[after], sine(A, clock(out) - begun)[after], atol=0.05)
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_another_sound_on_the_same_lane_takes_over_without_a_click(render):
    other = """
      transport.setLanes([{key: 'a', url: 'data:other', duration: 6, gain: 1}]);
      transport.lanes.get('a').buffer = sine({hertz: 660, seconds: 6, level: 0.5});
      await transport.load(transport.lanes.get('a'));
      transport.switchTo('a');
      transport.seek(transport.offset);
    """
    out, _ = render(2, [lane("a", A)], acts=[(1.0013, other)])
    assert np.abs(out[part(out, 1.1, 2)]).max() > 0.49
    assert_no_click(out, (A, 0.5), (B, 0.5))


def test_lanes_come_and_go_while_another_plays_on_untouched(render):
    join = "transport.setLanes(['a', 'b', 'c'].map((key) => ({key, url: null, duration: 6, gain: 1})));"
    add = join + "transport.lanes.get('c').buffer = sine({hertz: 330, seconds: 6, level: 0.5});"
    drop = "transport.setLanes([{key: 'a', url: null, duration: 6, gain: 1}]);"
    out, said = render(2, [lane("a", A), lane("b", B)], acts=[(0.5, add), (1.0, drop)])
    np.testing.assert_allclose(out[part(out, FADE_S, 2)], sine(A, clock(out))[part(out, FADE_S, 2)], atol=1e-3)
    assert said["playing"] is True


def test_a_short_lane_is_silent_after_its_end_and_back_at_the_turn(render):
    lanes = [lane("a", A, seconds=2.0), lane("b", B, seconds=0.5)]
    out, _ = render(5, lanes, "transport.setLoop(true)", [(2.1, "transport.switchTo('b')")])
    # B is heard from 2.1 s on: its own passage is now the loop, so it turns every 0.5 s from 2.0 s.
    t = clock(out)
    phase = (t - 2.0) % 0.5
    inside = (t > stop_at(2.1) + SWITCH_S) & (phase > SWITCH_S) & (phase < 0.5 - SWITCH_S)
    np.testing.assert_allclose(out[inside], sine(B, phase)[inside], atol=1e-3)
    assert_no_click(out, (A, 0.5), (B, 0.5))
