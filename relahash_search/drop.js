// A place to drop pictures on, or to choose them by mouse or key; their names and bytes go to the kernel.
const LIMIT = 8e6; // bytes that a notebook server takes in one message, with room to spare

async function shrink(file) {
  if (file.size <= LIMIT) return file;
  const image = await createImageBitmap(file), scale = 1024 / Math.max(image.width, image.height);
  const canvas = new OffscreenCanvas(image.width * scale, image.height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/png" });
}

function render({ model, el }) {
  const place = document.createElement("label");
  place.className = "relahash-drop";
  place.style = "display:block;padding:1.5em;border:2px dashed gray;border-radius:8px;text-align:center;cursor:pointer";
  const input = Object.assign(document.createElement("input"), { type: "file", accept: "image/*", multiple: true });
  place.append("drop pictures here, or choose them: ", input);
  const send = async (files) => {
    for (const file of files) {
      const picture = await shrink(file).catch(() => new Blob()); // of which the kernel says that it is none
      model.send([file.name], undefined, [await picture.arrayBuffer()]);
    }
  };
  input.addEventListener("change", () => send(input.files));
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    send(event.dataTransfer.files);
  });
  el.append(place);
}

export default { render };
