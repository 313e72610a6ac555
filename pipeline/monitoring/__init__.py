"""What became of the predictions: logged rows joined with their labels, drift, decay, and retraining."""
