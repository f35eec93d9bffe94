// A slider beside a number: the number is what is sent, and all there is without this script.
"use strict";
function attach(slider) {
  const number = document.getElementById(slider.dataset.for);
  const figure = slider.parentElement.querySelector("output");
  const show = () => {
    figure.textContent = number.value === "" ? "nobody" : `${number.value} % of the subjects`;
  };
  const follow = () => {
    slider.value = number.value === "" ? 0 : number.value;
    show();
  };
  slider.addEventListener("input", () => {
    number.value = slider.value;
    show();
  });
  number.addEventListener("input", follow);
  slider.hidden = figure.hidden = false;
  follow();
}
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".percent input[type=range]").forEach(attach);
});
