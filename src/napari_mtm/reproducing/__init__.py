"""The paper's comparisons, run again: what is compared, the results, the page that shows them."""
