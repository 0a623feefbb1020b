"""What `zoo.layers.ODEBlock` stands on.

tableaus    numbers of the Runge-Kutta methods, which check themselves
field       dx/dt = f(x, t), any Keras layer behind one signature, with its guards
methods     one step: Runge-Kutta, reversible, leapfrog
solving     many steps, fixed or adaptive, and the gradients of each
"""
