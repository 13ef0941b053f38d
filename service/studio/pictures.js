// Pictures on the page: shown, opened at full size, downloaded.

const SMALL_PX = 48; // below this, smoothed pixels are a blur

export function showPicture(image, blob, alt) {
  image.onerror = () => { image.hidden = true; }; // a format that the service reads and the browser doesn't
  image.onload = () => { image.classList.toggle("small", image.naturalWidth < SMALL_PX); };
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  image.alt = alt;
  image.hidden = false;
}

/** Show a picture at its own size, as far as the window allows; another click closes it. */
export function openOnClick(image, dialog) {
  const full = dialog.querySelector("img");
  image.parentElement.addEventListener("click", () => {
    full.src = image.src;
    full.className = image.className;
    full.alt = `${image.alt}, at full size`;
    dialog.showModal();
  });
}

export function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
