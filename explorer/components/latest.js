// Works around Gradio: it delays an event while another of its kind is under way, and then sends the first one's data
// again. It reads that data by reference, so one object for each kind of event, refilled, always carries the latest.
export function latest(trigger) {
  const boxes = {};
  return (name, data = {}) => {
    const box = (boxes[name] ||= {});
    for (const key of Object.keys(box)) delete box[key];
    trigger(name, Object.assign(box, data));
  };
}
