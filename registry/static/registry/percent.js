// Adds a slider to a number input. The form submits the number, so it also works without scripts.
"use strict";
function attach(slider) {
  const number = document.getElementById(slider.dataset.for);
  const label = slider.parentElement.querySelector("output");
  const updateLabel = () => {
    label.textContent = number.value === "" ? "no subjects" : `${number.value} % of the subjects`;
  };
  const syncSlider = () => {
    slider.value = number.value === "" ? 0 : number.value;
    updateLabel();
  };
  slider.addEventListener("input", () => {
    number.value = slider.value;
    updateLabel();
  });
  number.addEventListener("input", syncSlider);
  slider.hidden = label.hidden = false;
  syncSlider();
}
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".percent input[type=range]").forEach(attach);
});
