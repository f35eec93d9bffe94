// A slider beside a number: the number is what is sent, and all there is without this script.
"use strict";
for (const slider of document.querySelectorAll(".percent input[type=range]")) {
  const number = document.getElementById(slider.dataset.for);
  const figure = slider.parentElement.querySelector("output");
  const show = () => {
    figure.textContent = number.value === "" ? "no share" : `${number.value} % of the subjects`;
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
