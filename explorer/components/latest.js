// Gradio holds an event back while another of its kind is under way, and then sends the data of the first one again. It
// reads that data by reference: one object for each kind of event, refilled, always tells the latest.
export function latest(trigger) {
  const boxes = {};
  return (name, data = {}) => {
    const box = (boxes[name] ||= {});
    for (const key of Object.keys(box)) delete box[key];
    trigger(name, Object.assign(box, data));
  };
}
